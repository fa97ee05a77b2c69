"""Resampling keeps gaps gaps and peaks peaks."""

import numpy as np
import pytest

from controller.domain.snapshot import History
from controller.forecast.series import Bins, Series, measured_bins
from controller.forecast.series import resample as resample_bins


def resample(values: list[float] | np.ndarray, *, horizon_s: float) -> Series:
    return resample_bins(Bins(step_s=5, end=0, values=np.asarray(values, dtype=float)), horizon_s=horizon_s)


def test_bins_end_with_the_newest_known_one_and_gaps_are_not_zero() -> None:
    history = History(start=100, step_s=5, values=(1.0, 2.0, None, 3.0, None, None))

    bins = measured_bins(history)

    assert bins is not None
    assert bins.end == 120
    assert bins.values.tolist() == pytest.approx([1.0, 2.0, float("nan"), 3.0], nan_ok=True)


def test_bins_between_two_measurements_are_no_gaps() -> None:
    history = History(start=0, step_s=5, values=(None, 1.0, None, 2.0, None, 4.0, None))

    bins = measured_bins(history)

    assert bins is not None
    assert (bins.step_s, bins.end, bins.values.tolist()) == (10, 30, [1.0, 2.0, 4.0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_a_gap(value: float) -> None:
    bins = measured_bins(History(start=0, step_s=5, values=(1.0, 2.0, value, 3.0)))

    assert bins is not None
    assert np.isnan(bins.values).tolist() == [False, False, True, False]


def test_a_short_horizon_keeps_the_bins() -> None:
    series = resample(np.arange(100.0), horizon_s=35)

    assert (series.step_s, series.ahead, series.means.size) == (5, 7, 100)


def test_a_long_horizon_joins_bins_counted_from_the_newest() -> None:
    bins = np.concatenate([np.zeros(1), np.arange(720.0)])

    series = resample(bins, horizon_s=200)

    assert (series.step_s, series.ahead) == (25, 8)
    assert series.means[-1] == 717
    assert series.peaks[-1] == 719


def test_a_step_is_known_from_the_bins_that_are() -> None:
    bins = np.full(720, np.nan)
    bins[-2:] = 4.0, 8.0
    bins[:600] = 1.0

    series = resample(bins, horizon_s=200)

    assert series.means[-1] == 6
    assert np.isnan(series.means[-2])


def test_realised_maxima_look_only_at_what_came_after() -> None:
    series = resample(np.array([9.0, 1.0, 2.0, 5.0, 3.0]), horizon_s=10)

    realised = series.realised(2, 5)

    assert realised.tolist() == pytest.approx([2.0, 5.0, 5.0, float("nan"), float("nan")], nan_ok=True)
