"""What a way of predicting must offer to take part in the competition."""

from __future__ import annotations

from typing import Protocol

from controller.forecast.series import FloatArray, Series


class Candidate(Protocol):
    """Predicts one number: the largest demand over the steps ahead. Its errors are measured by others."""

    @property
    def name(self) -> str:
        """The method's name in records."""
        ...

    def points(self, series: Series, ahead: int, origins: int) -> FloatArray:
        """Predictions made at the end of each of the last ``origins`` steps for the ``ahead`` next ones.

        Each uses only what was known by then. NaN where the method has no opinion.
        """
        ...
