"""Predictions whose horizon is not over yet, and what has come of them so far."""

from __future__ import annotations

from dataclasses import dataclass

from controller.forecast.arrays import FloatArray

_KNOWN_SHARE = 0.5
"""An outcome counts only when this share of the horizon was measured."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was said at one origin.

    ``points`` has one row per probability and one column per variant; ``scale`` is the unit that errors
    are measured in; ``quantiles`` are the variants' corrected quantiles; ``blend`` the combination before
    and ``served`` after the last correction, one per probability. ``leading`` is the variant that weighs
    most in the highest quantile.
    """

    at: float
    points: FloatArray
    scales: FloatArray
    quantiles: FloatArray
    blend: FloatArray
    served: FloatArray
    leading: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """One prediction on its way. ``largest`` is the outcome so far, ``known_s`` how much of it was measured."""

    prediction: Prediction
    largest: float = 0.0
    known_s: float = 0.0

    def seeing(self, value: float, known_s: float, *, maximum: bool) -> Pending:
        """The same after one more measurement within the horizon."""
        outcome = max(self.largest, value) if maximum else value
        return Pending(self.prediction, outcome, self.known_s + known_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said, and what came."""

    prediction: Prediction
    actual: float


def settle(waiting: tuple[Pending, ...], now: float, horizon_s: float) -> tuple[tuple[Pending, ...], list[Outcome]]:
    """Part with the predictions whose horizon is over by ``now``; those measured too little say nothing."""
    over = 0
    while over < len(waiting) and waiting[over].prediction.at + horizon_s <= now + 1e-6:
        over += 1
    outcomes = [
        Outcome(one.prediction, one.largest) for one in waiting[:over] if one.known_s >= _KNOWN_SHARE * horizon_s
    ]
    return waiting[over:], outcomes
