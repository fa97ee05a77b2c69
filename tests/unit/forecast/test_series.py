"""Resampling keeps gaps gaps and peaks peaks."""

import numpy as np
import pytest

from controller.domain.snapshot import History
from controller.forecast.series import known_bins, resample


def test_bins_end_with_the_newest_known_one_and_gaps_are_not_zero() -> None:
    history = History(start=0, step_s=5, values=(1.0, None, 3.0, None, None))

    bins = known_bins(history)

    assert bins.tolist() == pytest.approx([1.0, float("nan"), 3.0], nan_ok=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_a_gap(value: float) -> None:
    bins = known_bins(History(start=0, step_s=5, values=(1.0, value, 3.0)))

    assert np.isnan(bins).tolist() == [False, True, False]


def test_a_short_horizon_keeps_the_bins() -> None:
    series = resample(np.arange(100.0), step_s=5, horizon_s=35)

    assert (series.step_s, series.ahead, series.means.size) == (5, 7, 100)


def test_a_long_horizon_joins_bins_counted_from_the_newest() -> None:
    bins = np.concatenate([np.zeros(1), np.arange(720.0)])

    series = resample(bins, step_s=5, horizon_s=200)

    assert (series.step_s, series.ahead) == (25, 8)
    assert series.means[-1] == 717
    assert series.peaks[-1] == 719


def test_a_step_is_known_from_the_bins_that_are() -> None:
    bins = np.full(720, np.nan)
    bins[-2:] = 4.0, 8.0
    bins[:600] = 1.0

    series = resample(bins, step_s=5, horizon_s=200)

    assert series.means[-1] == 6
    assert np.isnan(series.means[-2])


def test_realised_maxima_look_only_at_what_came_after() -> None:
    series = resample(np.array([9.0, 1.0, 2.0, 5.0, 3.0]), step_s=5, horizon_s=10)

    realised = series.realised(2, 5)

    assert realised.tolist() == pytest.approx([2.0, 5.0, 5.0, float("nan"), float("nan")], nan_ok=True)
