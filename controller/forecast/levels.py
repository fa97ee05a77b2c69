"""Exponentially smoothed levels of one signal at several time scales, right for uneven measurements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from controller.forecast.arrays import FloatArray

SCALES = (1, 2, 4, 8, 16, 32, 64)
"""Time constants of the levels, in strides."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels after the measurements seen so far, each scale's own, in the signal's unit.

    ``last`` is the newest measurement and ``stride_s`` the unit of the time constants.
    """

    stride_s: float
    last: float
    values: FloatArray

    @classmethod
    def starting(cls, value: float, stride_s: float) -> Levels:
        """All levels at the first measurement."""
        return cls(stride_s, value, np.full(len(SCALES), value))

    def seeing(self, value: float, elapsed_s: float) -> Levels:
        """Levels after one more measurement, ``elapsed_s`` after the one before."""
        weights = _weights(self.stride_s, round(elapsed_s, 3))
        return Levels(self.stride_s, value, self.values + weights * (value - self.values))

    def at(self, scale: int) -> float:
        """Level at one of ``SCALES``."""
        return float(self.values[SCALES.index(scale)])


@lru_cache(maxsize=1024)
def _weights(stride_s: float, elapsed_s: float) -> FloatArray:
    """Weight of a measurement at each scale. A measurement that spans a whole stride is the fastest level."""
    fastest = 1.0 if elapsed_s >= stride_s else 1.0 - float(np.exp(-elapsed_s / stride_s))
    slower = 1.0 - np.exp(-elapsed_s / (np.array(SCALES[1:]) * stride_s))
    return np.concatenate([[fastest], slower])
