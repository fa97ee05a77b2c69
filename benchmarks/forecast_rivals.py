"""The forecasters that ours is measured against, all walk-forward and all as quick as they can be made.

A rival that predicts a point is given the same band as every other: the empirical quantile of its own last
200 errors at that horizon. Gradient boosting predicts the quantile itself. ``prepare`` and the models of
statsforecast are fitted once a day to what was known by then, and updated with every bin in between.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

FloatArray = NDArray[np.float64]
_Day = tuple[int, int, FloatArray]
Rival = Callable[[FloatArray, int, float, FloatArray], FloatArray]
"""(values, ahead, bins per day, outcomes) -> prediction made at the end of each bin; NaN: no opinion."""

BAND = 200
_FEWEST_ERRORS = 10
_FEWEST_ROWS = 50
_FIT_TO = 1000
"""Newest bins that the models of statsforecast are fitted to."""

DAY_S = 86_400.0


@njit(cache=True)
def banded(points: FloatArray, outcomes: FloatArray, ahead: int, quantile: float) -> FloatArray:
    """Each point plus the empirical quantile of its own last errors that were known by then."""
    size = len(points)
    errors = np.zeros(BAND)
    count = 0
    served = np.full(size, np.nan)
    for place in range(size):
        past = place - ahead
        if past >= 0 and not np.isnan(points[past]) and not np.isnan(outcomes[past]):
            errors[count % BAND] = outcomes[past] - points[past]
            count += 1
        known = min(count, BAND)
        if known >= _FEWEST_ERRORS and not np.isnan(points[place]):
            ranked = np.sort(errors[:known])
            rank = min(known - 1, int(np.ceil(quantile * (known + 1))) - 1)
            served[place] = max(0.0, points[place] + ranked[rank])
    return served


@njit(cache=True)
def _trended(values: FloatArray, alpha: FloatArray, beta: FloatArray, phi: FloatArray, ahead: int) -> FloatArray:
    """Exponential smoothing with a damped additive trend, parameters given for each bin."""
    size = len(values)
    points = np.full(size, np.nan)
    level, trend = np.nan, 0.0
    for place in range(size):
        value = values[place]
        damping = phi[place]
        if not np.isnan(value):
            if np.isnan(level):
                level = value
            else:
                expected = level + damping * trend
                level = expected + alpha[place] * (value - expected)
                trend = damping * trend + beta[place] * (value - expected)
        carried, power = 0.0, 1.0
        for _ in range(ahead):
            power *= damping
            carried += power
        points[place] = max(0.0, level + carried * trend)
    return points


@njit(cache=True)
def _arma(  # noqa: C901, PLR0917 - one recursion, compiled
    values: FloatArray, ar: FloatArray, ma: FloatArray, constant: float, first: int, ahead: int
) -> FloatArray:
    """Forecast ``ahead`` from each bin from ``first`` on, by the ARMA recursion over all bins given."""
    size = len(values)
    errors = np.zeros(size)
    sums = np.full((size, 2), np.nan)
    path = np.zeros(ahead)
    for place in range(size):
        expected = constant
        for lag in range(len(ar)):
            if place - 1 - lag >= 0:
                expected += ar[lag] * (values[place - 1 - lag] - constant)
        for lag in range(len(ma)):
            if place - 1 - lag >= 0:
                expected += ma[lag] * errors[place - 1 - lag]
        errors[place] = values[place] - expected
        if place < first:
            continue
        for step in range(ahead):
            point = constant
            for lag in range(len(ar)):
                back = step - 1 - lag
                if back >= 0:
                    point += ar[lag] * (path[back] - constant)
                elif place + 1 + back >= 0:
                    point += ar[lag] * (values[place + 1 + back] - constant)
            for lag in range(len(ma)):
                back = step - 1 - lag
                if back < 0 and place + 1 + back >= 0:
                    point += ma[lag] * errors[place + 1 + back]
            path[step] = point
        sums[place, 0] = path[ahead - 1]
        sums[place, 1] = path.sum()
    return sums


def last_value(values: FloatArray, _ahead: int, _day: float, _outcomes: FloatArray) -> FloatArray:
    """Dynamo's ``constant``."""
    return values.copy()


def smoothing(weight: float) -> Rival:
    """Simple exponential smoothing."""

    def predict(values: FloatArray, ahead: int, _day: float, _outcomes: FloatArray) -> FloatArray:
        same = np.full(values.size, weight)
        return _trended(values, same, np.zeros(values.size), np.zeros(values.size), ahead)

    return predict


def holt(values: FloatArray, ahead: int, _day: float, _outcomes: FloatArray) -> FloatArray:
    """Damped Holt with fixed, usual parameters."""
    size = values.size
    return _trended(values, np.full(size, 0.3), np.full(size, 0.03), np.full(size, 0.9), ahead)


def in_logs(rival: Rival) -> Rival:
    """The same rival on log1p, as some of Dynamo's presets are."""

    def predict(values: FloatArray, ahead: int, day: float, outcomes: FloatArray) -> FloatArray:
        return np.expm1(np.minimum(rival(np.log1p(values), ahead, day, outcomes), 50.0))

    return predict


def seasonal_naive(values: FloatArray, _ahead: int, day: float, outcomes: FloatArray) -> FloatArray:
    """What came at this time yesterday."""
    back = round(day)
    points = np.full(values.size, np.nan)
    points[back:] = outcomes[:-back] if back < values.size else np.nan
    return points


def auto_ets(values: FloatArray, ahead: int, day: float, _outcomes: FloatArray) -> FloatArray:
    """AutoETS of statsforecast without season; its parameters are found anew every day."""
    from statsforecast.models import AutoETS  # noqa: PLC0415 - optional

    size = values.size
    alpha, beta, phi = np.full(size, 0.3), np.zeros(size), np.zeros(size)
    for (first, last, _), found in _fitted(lambda: AutoETS(model="AZN"), values, day):
        own = dict(zip(("alpha", "beta", "gamma", "phi"), found["par"][:4], strict=False))
        alpha[first:last] = own["alpha"]
        trended = found["components"][1] != "N"
        beta[first:last] = own["beta"] if trended else 0.0
        phi[first:last] = (own["phi"] if math.isfinite(own["phi"]) else 1.0) if trended else 0.0
    return _trended(values, alpha, beta, phi, ahead)


def auto_arima(values: FloatArray, ahead: int, day: float, _outcomes: FloatArray) -> FloatArray:
    """AutoARIMA of statsforecast without season (Dynamo's ``arima``); its model is found anew every day."""
    from statsforecast.models import AutoARIMA  # noqa: PLC0415 - optional

    points = np.full(values.size, np.nan)
    filled = _carried(values)
    for (first, last, _), found in _fitted(AutoARIMA, values, day):
        points[first:last] = _arima_path(found, filled, first, last, ahead)
    return np.where(np.isnan(values), np.nan, np.maximum(0.0, points))


_FITTED: dict[tuple[str, int], list[tuple[_Day, dict]]] = {}


def _fitted(make: Callable[[], Any], values: FloatArray, day: float) -> list[tuple[_Day, dict]]:
    """A model of each day, found from what was known before it; found once for all horizons."""
    key = (type(make()).__name__, hash(values.tobytes()))
    if key not in _FITTED:
        _FITTED[key] = []
        for place in _days(values, day):
            model = make()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.fit(place[2])
            _FITTED[key].append((place, model.model_))
    return _FITTED[key]


def _arima_path(found: dict, values: FloatArray, first: int, last: int, ahead: int) -> FloatArray:
    p, q, _, _, _, d, _ = found["arma"]
    coefficients = found["coef"]
    ar = np.array([coefficients[f"ar{lag + 1}"] for lag in range(p)], dtype=np.float64)
    ma = np.array([coefficients[f"ma{lag + 1}"] for lag in range(q)], dtype=np.float64)
    constant = float(coefficients.get("intercept", coefficients.get("drift", 0.0)))
    begin = max(0, first - _FIT_TO)
    seen = values[begin:last]
    if d == 0:
        return _arma(seen, ar, ma, constant, first - begin, ahead)[first - begin :, 0]
    if d > 1:
        return seen[first - begin :]
    changes = np.diff(seen)
    path = _arma(changes, ar, ma, constant, max(0, first - begin - 1), ahead)[:, 1]
    return (seen[1:] + path)[first - begin - 1 :]


def boosting(quantile: float) -> Rival:
    """Plain gradient boosting: raw lags, yesterday and the time of day; direct quantile, fitted daily."""

    def predict(values: FloatArray, ahead: int, day: float, outcomes: FloatArray) -> FloatArray:
        rows = _plain_features(values, ahead, day)
        points = np.full(values.size, np.nan)
        chooser = np.random.default_rng(0)
        for first, last, _ in _days(values, day):
            known = np.arange(max(0, first - ahead - round(14 * day)), first - ahead)
            known = known[np.isfinite(outcomes[known]) & np.isfinite(values[known])]
            if known.size < _FEWEST_ROWS:
                continue
            known = np.sort(chooser.choice(known, min(known.size, 8000), replace=False))
            telling = [column for column in range(rows.shape[1]) if np.nanstd(rows[known, column]) > 0]
            model = HistGradientBoostingRegressor(
                loss="quantile", quantile=quantile, early_stopping=False, random_state=0
            ).fit(rows[known][:, telling], outcomes[known])
            points[first:last] = np.maximum(0.0, model.predict(rows[first:last][:, telling]))
        return np.where(np.isnan(values), np.nan, points)

    return predict


def _plain_features(values: FloatArray, ahead: int, day: float) -> FloatArray:
    def lagged(lag: int) -> FloatArray:
        return np.concatenate([np.full(min(lag, values.size), np.nan), values[: max(0, values.size - lag)]])

    columns = [lagged(lag) for lag in (0, 1, 2, 3, 4, 5, 6, 9, 14, 29, 59)]
    yesterday = round(day) - ahead
    if 0 < yesterday < values.size:
        angle = 2 * np.pi * (np.arange(values.size) % day) / day
        columns += [lagged(yesterday), np.sin(angle), np.cos(angle)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.stack(columns, axis=1)


def _days(values: FloatArray, day: float) -> list[_Day]:
    """(first bin, bin after the last, newest known bins before it) of each day; shorter for short series."""
    length = max(60, min(round(day), values.size // 6))
    firsts = range(length, values.size, length)
    found = []
    for first in firsts:
        before = values[max(0, first - 2 * _FIT_TO) : first]
        found.append((first, min(values.size, first + length), before[np.isfinite(before)][-_FIT_TO:]))
    return found


def _carried(values: FloatArray) -> FloatArray:
    """Gaps filled with the value before them."""
    known = np.where(np.isfinite(values), np.arange(values.size), 0)
    return np.nan_to_num(values[np.maximum.accumulate(known)])


RIVALS: dict[str, tuple[Rival, bool]] = {
    "last value (Dynamo constant)": (last_value, True),
    "simple smoothing 0.2": (smoothing(0.2), True),
    "Holt damped": (holt, True),
    "AutoETS": (auto_ets, True),
    "AutoARIMA (Dynamo arima)": (auto_arima, True),
    "AutoARIMA log1p": (in_logs(auto_arima), True),
    "seasonal naive": (seasonal_naive, True),
    "plain gradient boosting": (boosting(0.9), False),
}
"""Each rival, and whether it needs a band."""
