"""What perfect foresight would pay, to hold the chains against."""

import numpy as np
import pytest

from benchmarks.cluster_lead import foreseen_hours, needed_hours

HOUR_S = 3600.0


def levels(*counts: int) -> np.ndarray:
    """Needed in minutes: a level after the other, ten minutes each."""
    return np.repeat(np.array(counts, dtype=np.int64), 10)


@pytest.mark.parametrize(
    ("needed", "initial", "minutes"),
    [
        pytest.param(levels(1, 1, 1), 1, 30, id="what-is-there-and-needed"),
        pytest.param(levels(1, 2, 2), 1, 30 + 20 + 7, id="ordered-a-lead-before"),
        pytest.param(levels(2, 1, 1, 1), 2, 40 + 10 + 10, id="given-up-and-paid-while-the-node-is-empty"),
        pytest.param(levels(2, 1, 2), 2, 30 + 30, id="kept-through-a-lull-that-is-short"),
        pytest.param(levels(2, 1, 1, 1, 2), 2, 50 + 10 + 10 + 7 + 10, id="ordered-again-after-a-long-one"),
        pytest.param(levels(2, 1), 1, 20 + 10 + 10, id="late-at-the-very-beginning-only"),
        pytest.param(levels(0, 0), 0, 0, id="nothing"),
    ],
)
def test_perfect_foresight(needed: np.ndarray, initial: int, minutes: float) -> None:
    length_s = len(needed) * 60.0

    found = foreseen_hours(needed, length_s, initial=initial, lead_s=7 * 60.0, empty_s=10 * 60.0)

    assert found * 60.0 == pytest.approx(minutes)
    assert found >= needed_hours(needed, length_s) - 1e-9
