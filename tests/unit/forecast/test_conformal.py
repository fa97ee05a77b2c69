"""By how much each outcome moves the last correction."""

import numpy as np
import pytest

from controller.forecast.conformal import Correction
from controller.forecast.pending import Outcome, Prediction

PROMISED = np.array([0.5, 0.9])
BEFORE = Correction(np.array([0.1, 0.2]), np.array([0.5, 4.0]))


def outcome(actual: float, *, scale: float = 2.0) -> Outcome:
    nothing = np.zeros(2)
    said = Prediction(
        0.0, nothing, np.array([9.0, 9.0, scale]), nothing, np.array([10.0, 10.0]), np.array([11.0, 14.0])
    )
    return Outcome(said, actual)


@pytest.mark.parametrize(
    ("actual", "steps", "spread"),
    [
        pytest.param(12.0, [0.5, -0.1], [0.51, 3.94], id="above-one-below-the-other"),
        pytest.param(15.0, [0.5, 0.9], [0.54, 3.97], id="above-both"),
        pytest.param(11.0, [0.0, -0.1], [0.5, 3.93], id="as-was-said"),
        pytest.param(10.0, [-0.5, -0.1], [0.49, 3.92], id="below-both"),
        pytest.param(1e6, [0.5, 0.9], [0.59, 4.52], id="a-wild-surprise-counts-as-a-large-one"),
        pytest.param(-1e6, [-0.5, -0.1], [0.59, 4.52], id="below-as-above"),
    ],
)
def test_a_correction_moves_up_when_missed_and_down_by_less(
    actual: float, steps: list[float], spread: list[float]
) -> None:
    after = BEFORE.learning(outcome(actual), PROMISED, per_horizon=4.0)

    assert after.spread.tolist() == pytest.approx(spread)
    assert (after.offsets - BEFORE.offsets).tolist() == pytest.approx(
        [0.015 / 2 * size * step for size, step in zip(spread, steps, strict=True)]
    )


def test_without_unrest_there_is_no_unit_to_correct_in() -> None:
    assert BEFORE.learning(outcome(12.0, scale=0.0), PROMISED, per_horizon=4.0) is BEFORE


def test_it_begins_with_none() -> None:
    fresh = Correction.fresh(2)

    assert (fresh.offsets.tolist(), fresh.spread.tolist()) == ([0.0, 0.0], [0.5, 0.5])
