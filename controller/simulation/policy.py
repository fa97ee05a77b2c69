"""What every policy that runs on the simulated fleet is: an observation in, a target out."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from controller.simulation.observation import Observation


class ScalingPolicy(Protocol):
    """Asked every ``interval_s`` seconds; keeps whatever memory it needs. With ``detail`` it is shown each replica."""

    name: str
    interval_s: float
    detail: bool

    def target(self, seen: Observation, now: float) -> int:
        """Return the replicas wanted now."""
        ...


class Recent:
    """The largest of what was noted over the last ``window_s`` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._noted: deque[tuple[float, int]] = deque()

    def largest(self, now: float, value: int) -> int:
        """Note a value and return the largest that is still recent."""
        while self._noted and self._noted[-1][1] <= value:
            self._noted.pop()
        self._noted.append((now, value))
        while self._noted[0][0] <= now - self._window_s:
            self._noted.popleft()
        return self._noted[0][1]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was noted yet."""
        return not self._noted


class Average:
    """Mean of a gauge over the last ``window_s`` seconds, from its integral over time."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._noted: deque[tuple[float, float]] = deque()

    def over(self, now: float, integral: float) -> float | None:
        """Note the integral up to ``now``; None before two are known."""
        self._noted.append((now, integral))
        while len(self._noted) > 2 and self._noted[1][0] <= now - self._window_s:  # noqa: PLR2004 - two ends
            self._noted.popleft()
        (began, before), (ended, after) = self._noted[0], self._noted[-1]
        return (after - before) / (ended - began) if ended > began else None


def ratio_of_change(before: float, after: float, count_before: float, count_after: float) -> float | None:
    """Mean of a quantity per event from its running totals; None without an event."""
    return (after - before) / (count_after - count_before) if count_after > count_before else None
