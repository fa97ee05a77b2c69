"""Tomorrow is like today: the newest value, held."""

from __future__ import annotations

from controller.forecast.series import FloatArray, Series


class LastValue:
    """Predicts the newest step's mean."""

    name = "last_value"

    def points(self, series: Series, ahead: int, origins: int) -> FloatArray:  # noqa: ARG002 - any horizon alike
        """Return each origin's own mean; NaN at a gap."""
        return series.means[-origins:]
