"""Settings that hold for every test."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

from tests.reliability import pytest_addoption, pytest_configure, pytest_sessionfinish, report

__all__ = ["pytest_addoption", "pytest_configure", "pytest_sessionfinish", "report"]

# A busy machine is slow, which says nothing about the code under test.
settings.register_profile("desk", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI tries the same examples each time, so that a red run is about the change; on a desk they are new every time.
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True, print_blob=True)
# One mutant after another (benchmarks/mutation.py): whether it is found counts, not the smallest example of it.
settings.register_profile(
    "mutation", settings.get_profile("ci"), max_examples=40, phases=(Phase.explicit, Phase.generate), print_blob=False
)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
