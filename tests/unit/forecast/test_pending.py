"""A prediction waits until its horizon is over, and counts only when enough of it was measured."""

import numpy as np
import pytest

from controller.forecast.pending import Pending, Prediction, settle

NOTHING = np.zeros(1)


def said(at: float, **so_far: float) -> Pending:
    return Pending(Prediction(at, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING), **so_far)


@pytest.mark.parametrize(
    ("maximum", "values", "actual"),
    [
        pytest.param(True, [3.0, 7.0, 5.0], 7.0, id="the-largest-of-the-horizon"),
        pytest.param(False, [3.0, 7.0, 5.0], 5.0, id="the-value-at-its-end"),
    ],
)
def test_what_came_of_it(maximum: bool, values: list[float], actual: float) -> None:
    one = said(100.0)

    for value in values:
        one = one.seeing(value, 10.0, maximum=maximum)

    assert (one.largest, one.known_s, one.prediction.at) == (actual, 30.0, 100.0)


@pytest.mark.parametrize(
    ("now", "left"),
    [
        pytest.param(159.9, [100.0, 110.0, 120.0], id="none-is-over"),
        pytest.param(160.0, [110.0, 120.0], id="over-at-its-end"),
        pytest.param(175.0, [120.0], id="two-are-over"),
        pytest.param(500.0, [], id="all"),
    ],
)
def test_those_whose_horizon_is_over_are_parted_with(now: float, left: list[float]) -> None:
    waiting = tuple(said(at, largest=at, known_s=60.0) for at in (100.0, 110.0, 120.0))

    still, outcomes = settle(waiting, now, 60.0)

    assert [one.prediction.at for one in still] == left
    assert [(one.prediction.at, one.actual) for one in outcomes] == [
        (at, at) for at in (100.0, 110.0, 120.0) if at not in left
    ]


def test_a_horizon_that_was_mostly_unseen_says_nothing() -> None:
    waiting = (said(0.0, largest=5.0, known_s=29.9), said(1.0, largest=6.0, known_s=30.0))

    still, outcomes = settle(waiting, 100.0, 60.0)

    assert still == ()
    assert [one.actual for one in outcomes] == [6.0]
