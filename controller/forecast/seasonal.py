"""The same stretch of earlier days, brought to the present level."""

from __future__ import annotations

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.candidate import Moment
from controller.forecast.levels import SCALES

_LEVELS = (2, 8)
_PLACES = [SCALES.index(scale) for scale in _LEVELS]
_SHAPES = ("newest", "mean", "half")


class Seasonal:
    """Predicts the present level times the rise that followed at this time of earlier periods.

    Three shapes: the newest period's rise, the mean of the periods', and its square root, for a pattern
    that is half believed. Ratios carry over when the level shifts; absolute values would not.
    """

    names = tuple(f"seasonal_{shape}_{scale}" for scale in _LEVELS for shape in _SHAPES)
    doubt = (1.0,) * len(names)

    def points(self, moment: Moment) -> FloatArray:
        """Return NaN without a season."""
        look = moment.look
        if look is None or look.newest_rise is None or look.mean_rise is None:
            return np.full((1, len(self.names)), np.nan)
        shapes = np.array([look.newest_rise, look.mean_rise, np.sqrt(look.mean_rise)])
        return np.outer(moment.levels.values[_PLACES], shapes).reshape(1, -1)
