"""Simple exponential smoothing: a level, held, unless demand is clearly on the move."""

from __future__ import annotations

from controller.forecast.arrays import FloatArray
from controller.forecast.candidate import Moment
from controller.forecast.levels import SCALES

_USED = (1, 2, 4, 8, 32)


class Smoothing:
    """Predicts levels with memories from two strides to four horizons."""

    names = tuple(f"smoothing_{scale}" for scale in _USED)
    doubt = (0.7, 0.0, 0.0, 0.5, 1.5)

    _places = tuple(SCALES.index(scale) for scale in _USED)

    def points(self, moment: Moment) -> FloatArray:
        """Return the levels, drawn to where demand is heading."""
        levels = moment.levels.values[list(self._places)]
        return (levels + moment.drive * (moment.lead - levels))[None, :]
