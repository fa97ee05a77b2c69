"""Kubernetes' HorizontalPodAutoscaler on an external metric with an average value per pod.

Rules and defaults of ``pkg/controller/podautoscaler`` (Kubernetes 1.34): tolerance 0.1, a sync every 15 s, at most
twice as many or four more pods per sync, and downscaling to the largest recommendation of the last 300 s, of which
what runs at the beginning is the first. Requests in flight are read as a mean over one sync, as from Prometheus.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from controller.simulation.observation import Observation
from controller.simulation.policy import Average, Recent

Metric = Callable[[Observation], float]

_TOLERANCE = 0.1
_SYNC_S = 15.0
_STABILISATION_S = 300.0
_PODS_PER_SYNC = 4


def ongoing() -> Metric:
    """Requests inside the system, waiting ones included, as a mean over one sync."""
    average = Average(_SYNC_S)

    def read(seen: Observation) -> float:
        mean = average.over(seen.at, seen.in_flight_seconds)
        return float(seen.in_flight) if mean is None else mean

    return read


class Hpa:
    """``desired = ceil(metric / target)`` unless within the tolerance of what is there."""

    def __init__(
        self,
        target: float,
        *,
        metric: Metric | None = None,
        name: str | None = None,
        detail: bool = False,
        tolerance: float = _TOLERANCE,
    ) -> None:
        self.name = name or f"hpa-{target:g}"
        self.interval_s = _SYNC_S
        self.detail = detail
        self._target = target
        self._tolerance = tolerance
        self._metric = metric or ongoing()
        self._recommended = Recent(_STABILISATION_S)

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now."""
        current = seen.target
        if self._recommended.is_empty:
            self._recommended.largest(now, current)
        desired = self._desired(self._metric(seen), current)
        if desired > current:
            self._recommended.largest(now, desired)
            return min(desired, max(2 * current, current + _PODS_PER_SYNC))
        return min(current, self._recommended.largest(now, desired))

    def _desired(self, metric: float, current: int) -> int:
        if current and abs(metric / (self._target * current) - 1.0) <= self._tolerance:
            return current
        return math.ceil(metric / self._target)
