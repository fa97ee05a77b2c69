"""Holt's damped trend, made to follow a ramp at once and to ignore a single jump.

Level and trend as in Gardner & McKenzie, "Forecasting trends in time series" (Management Science,
1985). Two changes. The level's weight follows the tracking signal |mean error| / mean |error| (Trigg &
Leach, "Exponential smoothing with an adaptive response rate", 1967): noise is smoothed away, a run of
errors of one sign is followed. And the trend is fed the median of the last three changes, so that one
jump, however high, is taken as a new level and not as the beginning of a ramp.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from controller.forecast.series import FloatArray, Series

_WARM_UP = 32
"""Steps before the first origin that level and trend settle on."""

_DAMPING = 0.85
_TREND_WEIGHT = 0.4
_ERROR_WEIGHT = 0.1
_TRUST = 4
"""Power of the tracking signal in use: only a clear run of errors moves level and trend quickly."""
_SLOWEST, _FASTEST = 0.1, 0.9
"""Bounds of the level's weight."""


@dataclass(slots=True)
class _Holt:
    """Level (signal's unit) and trend (per step) after the steps seen so far."""

    level: float
    trend: float = 0.0
    error: float = 0.0
    magnitude: float = 0.0
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=3))
    previous: float = 0.0

    def see(self, value: float, elapsed: int) -> None:
        """Take in the value of a step that comes ``elapsed`` steps after the last known one."""
        expected = self.level + self.trend * _damped_steps(elapsed)
        error = value - expected
        self.error += _ERROR_WEIGHT * (error - self.error)
        self.magnitude += _ERROR_WEIGHT * (abs(error) - self.magnitude)
        trust = (abs(self.error) / self.magnitude) ** _TRUST if self.magnitude > 0 else 0.0
        weight = _SLOWEST + (_FASTEST - _SLOWEST) * trust
        self.level = expected + weight * error
        self.changes.append((value - self.previous) / elapsed)
        self.previous = value
        damped = self.trend * _DAMPING**elapsed
        self.trend = damped + _TREND_WEIGHT * (trust * median(self.changes) - damped)

    def peak(self, ahead: int) -> float:
        """Largest value on the predicted path."""
        return self.level + self.trend * _damped_steps(ahead if self.trend > 0 else 1)


class DampedTrend:
    """Predicts the end of a rising trend, or the beginning of a falling one.

    The rise predicted over a horizon is never more than the rise seen over the horizon before it.
    """

    name = "damped_trend"

    def points(self, series: Series, ahead: int, origins: int) -> FloatArray:
        """Return the peaks of the predicted paths; NaN at a gap. A gap of a whole horizon starts anew."""
        start = max(0, series.means.size - origins - _WARM_UP)
        points = np.full(series.means.size - start, np.nan)
        recent: deque[float] = deque(maxlen=ahead + 1)
        holt: _Holt | None = None
        elapsed = 1
        for place, value in enumerate(series.means[start:].tolist()):
            recent.append(value)
            if math.isnan(value):
                elapsed += 1
                continue
            if holt is None or elapsed > ahead:
                holt = _Holt(level=value, previous=value)
            else:
                holt.see(value, elapsed)
            elapsed = 1
            lowest = min(seen for seen in recent if not math.isnan(seen))
            ceiling = holt.level + max(0.0, value - lowest)
            points[place] = max(0.0, min(holt.peak(ahead), ceiling))
        return points[-origins:]


def _damped_steps(steps: int) -> float:
    """Sum of the first ``steps`` powers of the damping factor."""
    return _DAMPING * (1 - _DAMPING**steps) / (1 - _DAMPING)
