"""The mean of the last two minutes."""

import pytest

from controller.domain.snapshot import History
from controller.planner.sustained import sustained

NOW = 1000.0


def past(*values: float | None, ends_s_ago: float = 0.0) -> History:
    return History(start=NOW - ends_s_ago - 10.0 * len(values), step_s=10.0, values=values)


@pytest.mark.parametrize(
    ("history", "mean"),
    [
        pytest.param(past(*[9.0] * 5, *[1.0, 3.0] * 6), 2.0, id="two-minutes-and-no-more"),
        pytest.param(past(None, 4.0, None, 4.0, 1.0), 3.0, id="gaps-are-not-zero"),
        pytest.param(past(4.0, 4.0, 4.0), 4.0, id="half-a-minute-is-enough"),
        pytest.param(past(4.0, 4.0), None, id="too-little-is-known"),
        pytest.param(past(*[4.0] * 12, ends_s_ago=100.0), None, id="what-was-known-is-too-old"),
        pytest.param(past(), None, id="nothing-was-ever-known"),
    ],
)
def test_mean_of_what_lasts(history: History, mean: float | None) -> None:
    assert sustained(history, now=NOW) == mean
