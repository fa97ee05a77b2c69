"""Yesterday at this time of day, once there is more than a day of history."""

from __future__ import annotations

import numpy as np

from controller.forecast.series import FloatArray, Series

_DAY_S = 86_400.0


class SeasonalNaive:
    """Predicts the largest step mean of the same stretch of the day before."""

    name = "seasonal_naive"

    def points(self, series: Series, ahead: int, origins: int) -> FloatArray:
        """Return yesterday's maxima; NaN where yesterday is unknown or before the history."""
        points = np.full(origins, np.nan)
        day = round(_DAY_S / series.step_s)
        total = series.means.size
        for place, origin in enumerate(range(total - origins, total)):
            start = origin - day + 1
            if start < 0:
                continue
            stretch = series.means[start : start + ahead]
            if not np.isnan(stretch).any():
                points[place] = stretch.max()
        return points
