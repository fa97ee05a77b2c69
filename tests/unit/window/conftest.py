from __future__ import annotations

import pytest

from controller.window.window import Window
from tests.captured import Watch


@pytest.fixture
def watch() -> Watch:
    """Half a minute, in which everything is believed."""
    return Watch(Window(window_s=30, max_age_s=30))
