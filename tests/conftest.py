"""Settings that hold for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# CI tries the same examples each time, so that a red run is about the change; on a desk they are new every time.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
