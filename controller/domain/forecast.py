"""A forecast of demand, and how long capacity takes to arrive."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

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


class LeadSource(StrEnum):
    """Where a lead time comes from, best first."""

    MEASURED = "measured"
    """Replica starts watched by this controller."""
    STARTUP_METRICS = "startup_metrics"
    """Ray Serve's start-up histogram, bucket-exact only."""
    POLICY = "policy"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadTime:
    """Time from ordering a replica to its first served request, in seconds."""

    p50_s: float
    p90_s: float
    p95_s: float
    source: LeadSource
    samples: int
