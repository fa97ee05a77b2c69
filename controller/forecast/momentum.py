"""Tells a ramp from noise and from a jump at once, before any prediction has come due.

The tracking signal |mean error| / mean |error| (Trigg & Leach, "Exponential smoothing with an adaptive
response rate", 1967) is near 1 in a run of errors of one sign and near 0 in noise. The slope is the median
of the last three changes, so that one jump, however high, is a new level and not the beginning of a ramp.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

_WEIGHT = 0.1
_POWER = 6
"""Only a clear run of errors drives."""

_CHANGES = 3
_CARRIED = 0.5
"""Share of the horizon that a slope is carried on."""

_LONGEST = 8
"""Measurements that a slope is carried on at most: three changes foretell no quarter of an hour."""

_MOST = 2.0
"""A slope is never carried beyond this many times the demand now."""


@dataclass(frozen=True, slots=True)
class Momentum:
    """Signed and absolute error of the short level, and the newest changes per second.

    ``distance_s`` is that of the two newest measurements.
    """

    error: float = 0.0
    magnitude: float = 0.0
    slopes: tuple[float, ...] = ()
    distance_s: float = 0.0

    def seeing(self, value: float, *, previous: float, expected: float, elapsed_s: float) -> Momentum:
        """The same after one more measurement."""
        missed = value - expected
        return Momentum(
            self.error + _WEIGHT * (missed - self.error),
            self.magnitude + _WEIGHT * (abs(missed) - self.magnitude),
            (*self.slopes[-(_CHANGES - 1) :], (value - previous) / elapsed_s),
            elapsed_s,
        )

    @property
    def drive(self) -> float:
        """How clearly demand is on the move, from 0 to 1."""
        return (abs(self.error) / self.magnitude) ** _POWER if self.magnitude > 0 else 0.0

    def lead(self, last: float, horizon_s: float, *, maximum: bool) -> float:
        """Where demand is heading. The largest value of a falling stretch is its first."""
        slope = median(self.slopes) if len(self.slopes) == _CHANGES else 0.0
        if maximum and slope < 0:
            return last
        carried_s = min(_CARRIED * horizon_s, _LONGEST * self.distance_s)
        return min(_MOST * last, max(0.0, last + slope * carried_s))
