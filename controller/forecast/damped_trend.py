"""Damped trends: a level and part of the rise or fall that it has shown.

On a ramp of slope s a level with time constant T lags by T·s, so the difference of two levels with time
constants T and 4T is 3T·s: trend and lag correction follow from levels alone (double exponential
smoothing, Brown 1963). ``damping`` is the share of the horizon over which the trend is carried on
(Gardner & McKenzie, "Forecasting trends in time series", Management Science, 1985).
"""

from __future__ import annotations

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.candidate import Moment
from controller.forecast.levels import SCALES

_VARIANTS = ((1, 0.0), (1, 1.0), (2, 0.3), (4, 0.3), (4, 1.0), (8, 1.0), (16, 0.3), (16, 1.0))
"""Scale of the faster level (the slower one is four times as slow), and damping."""

_MOST = 2.0
"""A trend is never carried beyond this many times the demand now."""


class DampedTrend:
    """Predicts the end of a rising trend, or the beginning of a falling one."""

    names = tuple(f"damped_trend_{scale}_{damping:g}" for scale, damping in _VARIANTS)
    doubt = tuple(1.0 + damping for _, damping in _VARIANTS)

    _fast = tuple(SCALES.index(scale) for scale, _ in _VARIANTS)
    _slow = tuple(SCALES.index(4 * scale) for scale, _ in _VARIANTS)
    _scales = np.array([scale for scale, _ in _VARIANTS], dtype=np.float64)
    _damping = np.array([damping for _, damping in _VARIANTS])

    def points(self, moment: Moment) -> FloatArray:
        """Return level plus trend, between nothing and twice the demand now."""
        values = moment.levels.values
        fast, slow = values[list(self._fast)], values[list(self._slow)]
        lag_s = self._scales * moment.levels.stride_s
        carried = (lag_s + self._damping * moment.horizon_s) / (3 * lag_s)
        most = _MOST * np.maximum(fast, moment.levels.last)
        points: FloatArray = np.clip(fast + carried * (fast - slow), 0.0, most)
        return points[None, :]
