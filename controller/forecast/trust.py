"""Whether a forecast keeps its promise: live coverage, loss and bias, and when to stop believing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.pending import Outcome

_MEMORY_S = 6 * 3600.0
"""Coverage is that of about the last six hours; of twenty horizons where these are longer."""

_HORIZONS = 20.0

_LEAST_HORIZONS = 24.0
"""Horizons on record before a forecast can be found out."""

_LOST_BELOW = 0.08
"""How far coverage may fall below the promise, beyond what chance explains."""

_BACK_ABOVE = 0.04
"""How near to the promise it must come back."""

_CHANCE = 1.0
"""Standard errors put down to chance."""


@dataclass(frozen=True, slots=True)
class Score:
    """Discounted live record of the served quantiles, one entry per probability.

    ``coverage`` is the share of outcomes at or below; ``loss`` the mean pinball loss; ``bias`` the mean of
    served minus actual; both in the signal's unit. ``horizons`` is how many independent horizons that is.
    """

    coverage: FloatArray
    loss: FloatArray
    bias: FloatArray
    weight: float = 0.0
    last_at: float = 0.0

    @classmethod
    def fresh(cls, probabilities: int) -> Score:
        """Nothing known."""
        nothing = np.zeros(probabilities)
        return cls(nothing, nothing, nothing)

    def counting(self, outcome: Outcome, probabilities: FloatArray, *, horizon_s: float) -> Score:
        """The record with one more outcome."""
        said = outcome.prediction
        elapsed_s = min(said.at - self.last_at, horizon_s) if self.weight else 0.0
        kept = 0.5 ** (elapsed_s / max(_MEMORY_S, _HORIZONS * horizon_s))
        error = outcome.actual - said.served
        loss = np.maximum(probabilities * error, (probabilities - 1) * error)
        weight = kept * self.weight + 1
        share = 1 / weight
        return Score(
            self.coverage + share * ((error <= 0) - self.coverage),
            self.loss + share * (loss - self.loss),
            self.bias + share * (-error - self.bias),
            weight,
            said.at,
        )


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether the forecast is believed. ``lost_at`` is when it no longer was (None: it is)."""

    lost_at: float | None = None

    def reconsidered(self, *, coverage: float, promised: float, horizons: float, now: float) -> Trust:
        """Trust after a look at the live record. What was never promised (below the median) loses nothing."""
        if self.lost_at is not None:
            return TRUSTED if coverage >= promised - _BACK_ABOVE else self
        if horizons < _LEAST_HORIZONS:
            return self
        chance = _CHANCE * (promised * (1 - promised) / horizons) ** 0.5
        return Trust(now) if coverage < promised - _LOST_BELOW - chance else self


TRUSTED = Trust()
