"""What each candidate predicts."""

import math

import numpy as np
import pytest

from controller.forecast.arrays import FloatArray
from controller.forecast.boosted import Boosted
from controller.forecast.candidate import Candidate, Moment
from controller.forecast.damped_trend import DampedTrend
from controller.forecast.last_value import LastValue
from controller.forecast.levels import Levels
from controller.forecast.momentum import Momentum
from controller.forecast.retrospect import Retrospect
from controller.forecast.seasonal import Seasonal
from controller.forecast.smoothing import Smoothing

STEP_S = 5.0
HORIZON_S = 40.0
FLAT = [1.0] * 40


def moment(values: list[float] | FloatArray, *, look: Retrospect | None = None) -> Moment:
    levels, momentum = Levels.starting(float(values[0]), STEP_S), Momentum()
    for value in values[1:]:
        momentum = momentum.seeing(float(value), previous=levels.last, expected=levels.at(2), elapsed_s=STEP_S)
        levels = levels.seeing(float(value), STEP_S)
    lead = momentum.lead(levels.last, HORIZON_S, maximum=True)
    return Moment(levels, HORIZON_S, lead, momentum.drive, look)


def points(candidate: Candidate, values: list[float] | FloatArray, **given: Retrospect) -> dict[str, float]:
    return dict(zip(candidate.names, candidate.points(moment(values, **given))[-1].tolist(), strict=True))


def test_last_value_holds_the_newest() -> None:
    assert points(LastValue(), [*FLAT, 3.0]) == {"last_value": 3}


@pytest.mark.parametrize("candidate", [LastValue(), Smoothing(), DampedTrend()])
def test_a_flat_line_stays_flat(candidate: Candidate) -> None:
    assert set(points(candidate, FLAT).values()) == {1.0}


def test_longer_memories_follow_more_slowly() -> None:
    shown = points(Smoothing(), [*np.random.default_rng(1).poisson(9, 100), 30.0])

    assert list(shown.values()) == sorted(shown.values(), reverse=True)


def test_smoothing_runs_ahead_of_a_clear_ramp() -> None:
    assert points(Smoothing(), [*FLAT, 1.25, 1.5, 1.75, 2.0])["smoothing_4"] > 2.5


def test_smoothing_takes_a_jump_for_a_level_and_not_for_a_ramp() -> None:
    assert points(Smoothing(), [*FLAT, 10.0])["smoothing_4"] <= 10
    assert points(Smoothing(), [*FLAT, 10.0, 10.0])["smoothing_4"] == pytest.approx(10)


def test_a_damped_trend_reaches_further_the_less_it_is_damped() -> None:
    ramp = [10 + 0.5 * step for step in range(200)]

    shown = points(DampedTrend(), ramp)

    assert shown["damped_trend_1_0"] == pytest.approx(ramp[-1], rel=0.02)
    assert shown["damped_trend_4_1"] == pytest.approx(ramp[-1] + 0.5 * HORIZON_S / STEP_S, rel=0.02)


def test_a_damped_trend_is_between_nothing_and_twice_the_demand_now() -> None:
    assert min(points(DampedTrend(), [400.0 - 10 * step for step in range(41)]).values()) == 0
    assert max(points(DampedTrend(), [float(2**step) for step in range(20)]).values()) <= 2.0**20


def test_a_season_is_brought_to_the_present_level() -> None:
    look = Retrospect(at=0, level=1, newest_rise=3.0, mean_rise=4.0)

    shown = points(Seasonal(), FLAT, look=look)

    assert [shown[f"seasonal_{shape}_2"] for shape in ("newest", "mean", "half")] == [3, 4, 2]


def test_a_fitted_model_moves_along_with_the_level() -> None:
    look = Retrospect(at=0, level=1.0, boosted=(2.0, 5.0))

    shown = Boosted().points(moment([*FLAT, *[2.0] * 40], look=look))

    assert shown[:, 0].tolist() == pytest.approx([3.0, 6.0], abs=1e-3)


@pytest.mark.parametrize("candidate", [Seasonal(), Boosted()])
def test_without_a_long_past_there_is_no_opinion(candidate: Candidate) -> None:
    assert all(math.isnan(point) for point in points(candidate, FLAT).values())
