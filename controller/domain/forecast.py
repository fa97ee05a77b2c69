"""A forecast of demand, and how long capacity takes to arrive."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.layer import Layer
from controller.domain.signals import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Quantiles of the **maximum** of ``signal`` over [at, at + horizon_s], in the signal's unit.

    ``quantiles`` is sorted by probability and non-decreasing in value. ``method`` names the
    candidate that made it; ``history_s`` is how much past it was made from.
    """

    signal: Signal
    at: float
    horizon_s: float
    quantiles: tuple[tuple[float, float], ...]
    method: str
    history_s: float

    def quantile(self, probability: float) -> float:
        """Value at ``probability`` by linear interpolation, clamped to the outermost quantiles."""
        points = self.quantiles
        if probability <= points[0][0]:
            return points[0][1]
        for (low_p, low), (high_p, high) in itertools.pairwise(points):
            if probability <= high_p:
                share = (probability - low_p) / (high_p - low_p)
                return low + share * (high - low)
        return points[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastStanding:
    """The live record of one signal's forecast at one horizon, over about the last six hours.

    Of the quantile that is promised, at ``probability``: ``coverage`` is the share of outcomes at or below
    it, ``pinball_loss`` and ``bias`` (served minus actual) are in the signal's unit, ``horizons`` is how
    many independent horizons that is. ``method`` leads now. ``fitted_at`` is the end of the history that
    the fitted model in use has learned from (Unix seconds; None without one), ``fit_problem`` why the last
    fit failed. Without trust the forecast is still scored, but not used.
    """

    signal: Signal
    horizon_s: float
    probability: float
    coverage: float
    pinball_loss: float
    bias: float
    horizons: float
    trusted: bool
    method: str
    fitted_at: float | None = None
    fit_problem: str | None = None


class LeadSource(StrEnum):
    """Where a lead time comes from, best first."""

    MEASURED = "measured"
    """Replica starts watched by this controller."""
    STARTUP_METRICS = "startup_metrics"
    """Ray Serve's start-up histogram, bucket-exact only."""
    POLICY = "policy"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLead:
    """One layer's part of a lead time, in seconds."""

    layer: Layer
    p50_s: float
    p90_s: float
    p95_s: float
    source: LeadSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """Time from ordering a replica to its first served request, in seconds.

    ``layers`` are those that the next replica waits for; ``source`` is that of the least certain of them.
    """

    p50_s: float
    p90_s: float
    p95_s: float
    source: LeadSource
    samples: int
    layers: tuple[LayerLead, ...] = ()
