"""The Knative pod autoscaler as AIBrix ships it for LLMs, on concurrency.

Defaults of AIBrix (August 2026): stable window 180 s, panic window 60 s, panic threshold 2, at most twice and at
least half the replicas per step, cool-down of 300 s on the way down, tolerance 0.1.
"""

from __future__ import annotations

import math

from controller.simulation.observation import Observation
from controller.simulation.policy import Average, Recent

_INTERVAL_S = 10.0
_STABLE_S = 180.0
_PANIC_S = 60.0
_PANIC_THRESHOLD = 2.0
_COOL_DOWN_S = 300.0
_RATE = 2.0


class Kpa:
    """Average concurrency over a target; in panic the short average, and no step down."""

    def __init__(self, target: float) -> None:
        self.name = f"kpa-{target:g}"
        self.interval_s = _INTERVAL_S
        self._target = target
        self._stable = Average(_STABLE_S)
        self._panic = Average(_PANIC_S)
        self._recommended = Recent(_COOL_DOWN_S)
        self._panic_since: float | None = None

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now."""
        stable = self._stable.over(now, seen.in_flight_seconds)
        panic = self._panic.over(now, seen.in_flight_seconds)
        current = max(seen.target, 1)
        if self._recommended.is_empty:
            self._recommended.largest(now, current)
        if stable is None or panic is None:
            return current
        self._watch(stable, panic, now)
        panicking = self._panic_since is not None
        desired = math.ceil((panic if panicking else stable) / self._target)
        if panicking:
            desired = max(desired, current)
        bounded = min(max(desired, math.floor(current / _RATE)), math.ceil(current * _RATE))
        recent = self._recommended.largest(now, bounded)
        return bounded if bounded >= current else min(current, recent)

    def _watch(self, stable: float, panic: float, now: float) -> None:
        if stable <= 0.0 or panic / stable >= _PANIC_THRESHOLD:
            self._panic_since = now
        elif self._panic_since is not None and now - self._panic_since > _STABLE_S:
            self._panic_since = None
