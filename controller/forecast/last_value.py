"""Tomorrow is like today: the newest value, held."""

from __future__ import annotations

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.candidate import Moment


class LastValue:
    """Predicts the newest measurement."""

    names = ("last_value",)
    doubt = (1.0,)

    def points(self, moment: Moment) -> FloatArray:
        """Return the newest measurement."""
        return np.array([[moment.levels.last]])
