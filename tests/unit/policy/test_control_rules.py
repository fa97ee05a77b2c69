"""The loop's own settings must fit together, or every rate would be unknown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controller.policy.model import ControlPolicy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"interval_s": 60}, "window_s (30) must be at least twice interval_s (60)", id="window"),
        pytest.param(
            {"interval_s": 40, "window_s": 90}, "max_signal_age_s (30) must be above interval_s (40)", id="age"
        ),
    ],
)
def test_settings_that_would_blind_the_loop_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("(", r"\(").replace(")", r"\)")):
        ControlPolicy(**settings)
