"""How far measurements lie from the level one stride before, over three memories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.levels import Levels

_MEMORIES = np.array([10.0, 60.0, 500.0])
"""Strides."""

_RECENT = 3.0
"""While the record is shorter than a memory, the memory is a third of the record: in the first minutes a rise that is
over must not go on promising another one."""

_LEAST_SHARE = 0.3
"""Of the long memory's unrest: a calm hour does not promise a calm next one."""

_NEWEST = 24

_EXPECTED = 2
"""Scale of the level that measurements are expected at."""


@dataclass(frozen=True, slots=True)
class Unrest:
    """Mean surprise of a measurement, in the signal's unit. ``total`` and ``count`` are the open stride's."""

    expected: float
    surprises: FloatArray
    strides: int = 0
    total: float = 0.0
    count: int = 0
    newest: tuple[float, ...] = ()

    @classmethod
    def starting(cls, value: float) -> Unrest:
        """Nothing has surprised yet."""
        return cls(expected=value, surprises=np.zeros(_MEMORIES.size))

    def seeing(self, value: float) -> Unrest:
        """Take in one measurement of the open stride."""
        return replace(self, total=self.total + abs(value - self.expected), count=self.count + 1)

    def closing(self, levels: Levels) -> Unrest:
        """Close the stride: the next one is expected at the level now."""
        level = levels.at(_EXPECTED)
        if not self.count:
            return replace(self, expected=level)
        surprise = self.total / self.count
        weights = np.maximum(1 / _MEMORIES, min(1.0, _RECENT / (self.strides + 1)))
        surprises = self.surprises + weights * (surprise - self.surprises)
        return Unrest(level, surprises, self.strides + 1, newest=(*self.newest[-(_NEWEST - 1) :], surprise))

    @property
    def typical(self) -> float:
        """Median of the newest surprises: what a single jump leaves alone."""
        return median(self.newest) if self.newest else 0.0

    @property
    def scales(self) -> FloatArray:
        """Three units to measure errors in: a quick one, a steady one and a long one."""
        quick, middle, long = self.surprises
        middle = max(middle, _LEAST_SHARE * long)
        return np.array([(quick * middle) ** 0.5, 0.5 * (middle + long), long])
