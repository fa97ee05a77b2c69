"""Gradient-boosted quantiles, learned from this signal's own weeks."""

from __future__ import annotations

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.candidate import Moment
from controller.forecast.levels import SCALES

_PLACE = SCALES.index(2)


class Boosted:
    """Predicts the fitted model's quantile, moved along with the level since the model was asked."""

    names = ("boosted", "boosted_corrected")
    doubt = (1.0, 1.0)

    def points(self, moment: Moment) -> FloatArray:
        """Return a row per probability; NaN without a fitted model."""
        look = moment.look
        if look is None or look.boosted is None:
            return np.full((1, 2), np.nan)
        level = float(moment.levels.values[_PLACE])
        moved = np.maximum(0.0, np.asarray(look.boosted) + (level - look.level))
        return np.stack([moved, moved], axis=1)
