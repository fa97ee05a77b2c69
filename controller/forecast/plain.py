"""A plain forecaster: simple candidates compete, and the winner's own errors make the band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.domain.forecast import Forecast
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.candidate import Candidate
from controller.forecast.damped_trend import DampedTrend
from controller.forecast.last_value import LastValue
from controller.forecast.score import Residuals, calibrated_loss
from controller.forecast.seasonal_naive import SeasonalNaive
from controller.forecast.series import Bins, Series, measured_bins, resample

CANDIDATES: tuple[Candidate, ...] = (DampedTrend(), LastValue(), SeasonalNaive())
"""In order of preference: a later one must be clearly better to be used."""

_CLEARLY_BETTER = 0.95

_MIN_KNOWN_S = 60.0
_MIN_KNOWN_BINS = 6
_MAX_AGE_S = 30.0
_MIN_KNOWN_SHARE = 0.5
_MAX_ORIGINS = 200
_HORIZONS_NEEDED = 3
"""A horizon longer than a third of the known history is judged by the errors over that third."""

_HALF_LIFE = 4
"""Horizons after which a residual counts half: the band widens with a surprise and forgets it again."""

_TYPICAL_ERRORS = 3
"""The band reaches above the recent peak only by this many typical errors: that demand once jumped from
4 to 16 does not mean that it may now jump from 16 to 28."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A candidate with its residuals at past origins and what they cost it.

    ``peak`` is the largest demand of the time they were judged over.
    """

    candidate: Candidate
    residuals: Residuals
    loss: float
    peak: float


class PlainForecaster:
    """Point prediction of the best recent candidate, plus the empirical quantiles of its residuals.

    Candidates predict the largest demand of the horizon from every recent origin (at most 200), using
    what was known there (walk-forward); the one with the least calibrated pinball loss at this horizon
    wins. Each call judges anew, so the same history always gives the same forecast.
    """

    def __init__(self, candidates: Sequence[Candidate] = CANDIDATES) -> None:
        self._candidates = tuple(candidates)

    def forecast(
        self,
        history: History,
        signal: Signal,
        *,
        now: float,
        horizon_s: float,
        quantiles: Sequence[float],
    ) -> Forecast | Unknown:
        """Quantiles of the maximum of ``signal`` over [now, now + horizon_s]; see ``Forecaster``.

        Unknown with less than 60 s (or six measurements) of known history, when the newest is older
        than 30 s (or two measurements), or when less than half of the last horizon is known.
        """
        bins = measured_bins(history)
        if bins is None:
            return Unknown("no demand known yet")
        if problem := _unfit(bins, now=now, horizon_s=horizon_s):
            return Unknown(problem)
        series = resample(bins, horizon_s=horizon_s)
        reach = min(series.ahead, max(1, int(np.count_nonzero(~np.isnan(series.means))) // _HORIZONS_NEEDED))
        probabilities = sorted(set(quantiles))
        judged = _judge(self._candidates, series, reach, probabilities)
        if judged is None:
            return Unknown("too many gaps to tell how far off a forecast would be")
        point = float(judged.candidate.points(series, series.ahead, 1)[0])
        # Errors of a random walk grow with the square root of the horizon.
        growth = math.sqrt(series.ahead / reach)
        highest = max(judged.peak, point + growth * _TYPICAL_ERRORS * judged.residuals.typical)
        values = [min(highest, point + growth * judged.residuals.covering_quantile(p)) for p in probabilities]
        rising = np.maximum.accumulate(np.maximum(values, 0.0)).tolist()
        return Forecast(
            signal=signal,
            at=now,
            horizon_s=horizon_s,
            quantiles=tuple(zip(probabilities, rising, strict=True)),
            method=judged.candidate.name,
            history_s=bins.known * bins.step_s,
        )


def _unfit(bins: Bins, *, now: float, horizon_s: float) -> str | None:
    """Say why these bins allow no forecast, if they do not."""
    age_s = now - bins.end
    if age_s > max(_MAX_AGE_S, 2 * bins.step_s):
        return f"demand unknown for the last {age_s:.0f} s"
    needed_s = max(_MIN_KNOWN_S, _MIN_KNOWN_BINS * bins.step_s)
    if bins.known * bins.step_s < needed_s:
        return f"only {bins.known * bins.step_s:.0f} s of demand known; {needed_s:.0f} s are needed"
    recent = bins.values[-math.ceil(max(needed_s, horizon_s) / bins.step_s) :]
    if np.count_nonzero(~np.isnan(recent)) < _MIN_KNOWN_SHARE * recent.size:
        return f"more than half of the last {recent.size * bins.step_s:.0f} s is unknown"
    return None


def _judge(
    candidates: Sequence[Candidate], series: Series, reach: int, probabilities: Sequence[float]
) -> _Judged | None:
    """Compare candidates over the same origins; those without an opinion now or mostly then stay out."""
    origins = min(series.means.size, _MAX_ORIGINS + reach)
    realised = series.realised(reach, origins)
    errors = {candidate: realised - candidate.points(series, reach, origins) for candidate in candidates}
    scorable = np.count_nonzero(~np.isnan(realised))
    eligible = [
        candidate
        for candidate in candidates
        if np.isfinite(candidate.points(series, series.ahead, 1)[0])
        and np.count_nonzero(~np.isnan(errors[candidate])) > _MIN_KNOWN_SHARE * scorable
    ]
    if not eligible:
        return None
    shared = np.all([~np.isnan(errors[candidate]) for candidate in eligible], axis=0)
    if not shared.any():
        return None
    age = (origins - 1 - np.flatnonzero(shared)) / reach
    weights = 0.5 ** ((age - 1) / _HALF_LIFE)
    peak = float(np.nanmax(series.peaks[-origins:]))
    judged = []
    for candidate in eligible:
        residuals = Residuals.of(errors[candidate][shared], weights)
        judged.append(_Judged(candidate, residuals, calibrated_loss(residuals, probabilities), peak))
    best = judged[0]
    for rival in judged[1:]:
        if rival.loss < _CLEARLY_BETTER * best.loss:
            best = rival
    return best
