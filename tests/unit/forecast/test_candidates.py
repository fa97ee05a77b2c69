"""What each candidate predicts, and that none of them looks ahead."""

import math

import numpy as np
import pytest

from controller.forecast.candidate import Candidate
from controller.forecast.damped_trend import DampedTrend
from controller.forecast.last_value import LastValue
from controller.forecast.seasonal_naive import SeasonalNaive
from controller.forecast.series import FloatArray, Series


def series(values: FloatArray | list[float], *, ahead: int = 7, step_s: float = 5) -> Series:
    array = np.array(values, dtype=float)
    return Series(step_s=step_s, ahead=ahead, means=array, peaks=array)


def newest(candidate: Candidate, values: FloatArray | list[float], **kwargs: float) -> float:
    return float(candidate.points(series(values, **kwargs), 7, 1)[0])


FLAT = [1.0] * 40


def test_last_value_holds_the_newest() -> None:
    assert newest(LastValue(), [*FLAT, 3.0]) == 3


def test_damped_trend_stays_on_a_flat_line() -> None:
    assert newest(DampedTrend(), FLAT) == pytest.approx(1)


def test_damped_trend_runs_ahead_of_a_ramp() -> None:
    assert newest(DampedTrend(), [*FLAT, 1.25, 1.5, 1.75, 2.0]) > 2.5


def test_damped_trend_takes_a_jump_for_a_level_and_not_for_a_ramp() -> None:
    assert newest(DampedTrend(), [*FLAT, 10.0]) <= 10
    assert newest(DampedTrend(), [*FLAT, 10.0, 10.0]) == pytest.approx(10, rel=0.05)


def test_damped_trend_smooths_noise_away() -> None:
    noise = np.random.default_rng(7).normal(0, 1, 300)

    points = DampedTrend().points(series(20 + noise), 7, 200)

    assert np.std(points) < 0.75 * np.std(noise)


def test_damped_trend_never_rises_more_than_it_rose_over_the_horizon_before() -> None:
    started = [*FLAT, 11.0, 21.0]

    point = float(DampedTrend().points(series(started, ahead=40), 40, 1)[0])

    assert 35 < point <= 21 + 20


def test_damped_trend_is_never_below_zero() -> None:
    assert newest(DampedTrend(), [40.0 - 5 * step for step in range(9)]) == 0


def test_damped_trend_goes_on_after_a_gap_and_starts_anew_after_a_long_one() -> None:
    gap = [math.nan] * 3

    assert newest(DampedTrend(), [*FLAT, *gap, 1.0]) == pytest.approx(1)
    assert newest(DampedTrend(), [*FLAT, *gap * 4, 9.0]) == 9


def test_seasonal_naive_repeats_the_peak_of_yesterday() -> None:
    day = [float(hour) for hour in range(24)]

    assert newest(SeasonalNaive(), [*day, *day[:6]], step_s=3600) == 12


def test_seasonal_naive_has_no_opinion_within_the_first_day() -> None:
    assert math.isnan(newest(SeasonalNaive(), [1.0] * 23, step_s=3600))


@pytest.mark.parametrize("candidate", [LastValue(), DampedTrend(), SeasonalNaive()])
def test_no_candidate_looks_ahead(candidate: Candidate) -> None:
    values = np.random.default_rng(3).gamma(2, 5, 60)
    other_future = values.copy()
    other_future[40:] = 999

    points = candidate.points(series(values, step_s=3600), 7, 50)
    changed = candidate.points(series(other_future, step_s=3600), 7, 50)

    np.testing.assert_array_equal(points[:30], changed[:30])
    assert np.isfinite(points[:30]).any()
