"""What a way of predicting must offer to take part in the competition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controller.forecast.arrays import FloatArray
from controller.forecast.levels import Levels
from controller.forecast.retrospect import Retrospect


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known when a prediction is made.

    ``horizon_s`` is how far ahead to look; ``lead`` where demand is heading and ``drive``, from 0 to 1, how
    clearly; ``look`` what the days before say, None before they are long enough.
    """

    levels: Levels
    horizon_s: float
    lead: float
    drive: float
    look: Retrospect | None = None


class Candidate(Protocol):
    """Predicts demand at the horizon in one or more variants. Its errors are measured by others."""

    @property
    def names(self) -> tuple[str, ...]:
        """One name per variant, for records."""
        ...

    @property
    def doubt(self) -> tuple[float, ...]:
        """Prior reluctance to believe each variant while nothing was scored yet (nats, at least 0)."""
        ...

    def points(self, moment: Moment) -> FloatArray:
        """Predictions, one row per probability (or a single row for all) and one column per variant.

        In the signal's unit; NaN where a variant has no opinion.
        """
        ...
