"""The Knative pod autoscaler on concurrency, with Knative's defaults or with those that AIBrix ships for LLMs.

The rule is ``Scale`` of Knative's ``pkg/autoscaler/scaling/autoscaler.go`` (AIBrix's ``algorithm/kpa.go`` is the same
arithmetic). Concurrency is averaged over a stable and a panic window; each average over the target is a wish, kept
between ``ready / max_scale_down_rate`` and ``ready * max_scale_up_rate``. Where the panic wish reaches
``panic_threshold`` times the ready replicas the autoscaler panics until a whole stable window has passed without that;
while it panics it never wishes less than it did before. It begins in panic, at what is ready. Wishes to shrink wait
until nothing higher was wished for ``scale_down_delay_s``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.simulation.observation import Observation
from controller.simulation.policy import Average, Recent


@dataclass(frozen=True, slots=True, kw_only=True)
class KpaSettings:
    """One product's defaults; times in seconds."""

    interval_s: float
    stable_window_s: float
    panic_window_s: float
    panic_threshold: float = 2.0
    max_scale_up_rate: float
    max_scale_down_rate: float = 2.0
    scale_down_delay_s: float
    target_utilisation: float


KNATIVE = KpaSettings(
    interval_s=2.0,
    stable_window_s=60.0,
    panic_window_s=6.0,
    max_scale_up_rate=1000.0,
    scale_down_delay_s=300.0,
    target_utilisation=0.7,
)
"""Knative's defaults, but for the delay, which is 0 there: with GPUs that take minutes no operator leaves it so."""

AIBRIX = KpaSettings(
    interval_s=10.0,
    stable_window_s=180.0,
    panic_window_s=60.0,
    max_scale_up_rate=2.0,
    scale_down_delay_s=300.0,
    target_utilisation=1.0,
)
"""AIBrix's defaults. Its controller looks every 10 s."""


class Kpa:
    """``target`` is the concurrency of a full replica, of which the settings' utilisation is wanted."""

    def __init__(self, target: float, *, settings: KpaSettings, name: str) -> None:
        self.name = name
        self.interval_s = settings.interval_s
        self.detail = False
        self._target = target * settings.target_utilisation
        self._settings = settings
        self._stable = Average(settings.stable_window_s)
        self._panic = Average(settings.panic_window_s)
        self._wished = Recent(settings.scale_down_delay_s)
        self._panicked_at: float | None = None
        self._most_in_panic = 0
        self._began = False

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now; those there are while concurrency was not measured yet."""
        if not self._began:
            self._began = True
            if seen.ready > 1:
                self._panicked_at, self._most_in_panic = now, seen.ready
        stable = self._stable.over(now, seen.in_flight_seconds)
        panic = self._panic.over(now, seen.in_flight_seconds)
        if stable is None or panic is None:
            return seen.target
        wish = self._wish(stable / self._target, panic / self._target, max(1, seen.ready), now)
        return self._wished.largest(now, wish)

    def _wish(self, stable: float, panic: float, ready: int, now: float) -> int:
        settings = self._settings
        most = math.ceil(settings.max_scale_up_rate * ready)
        least = math.floor(ready / settings.max_scale_down_rate)
        wish = min(max(math.ceil(stable), least), most)
        if math.ceil(panic) / ready >= settings.panic_threshold:
            self._panicked_at = now
        elif self._panicked_at is not None and now - self._panicked_at > settings.stable_window_s:
            self._panicked_at, self._most_in_panic = None, 0
        if self._panicked_at is None:
            return wish
        self._most_in_panic = max(self._most_in_panic, wish, min(max(math.ceil(panic), least), most))
        return self._most_in_panic
