"""The last correction: keeps the share of outcomes below a served quantile at what was promised.

After every outcome the correction of a quantile moves up when the outcome lay above it and down, by less,
when it did not, so that over any stretch the share of misses tends to what was promised whatever the data
do: Gibbs & Candès, "Adaptive conformal inference under distribution shift" (NeurIPS 2021), in the form
that moves the quantile itself (Angelopoulos, Candès & Tibshirani, "Conformal PID control for time series
prediction", NeurIPS 2023). Up and down are asymmetric by construction, and each signal, horizon and
probability has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.pending import Outcome

RATE = 0.015
"""How far one horizon's outcomes move a correction, in typical errors."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Corrections in units of the steady unrest, one per probability, with the typical size of errors."""

    offsets: FloatArray
    spread: FloatArray

    @classmethod
    def fresh(cls, probabilities: int) -> Correction:
        """None yet."""
        return cls(np.zeros(probabilities), np.full(probabilities, 0.5))

    def learning(self, outcome: Outcome, probabilities: FloatArray, *, per_horizon: float) -> Correction:
        """The corrections after one more outcome."""
        said = outcome.prediction
        scale = float(said.scales[-1])
        if scale == 0:
            return self
        error = np.clip((outcome.actual - said.blend) / scale, -30.0, 30.0)
        spread = self.spread + 0.02 * (np.minimum(np.abs(error), 10 * self.spread) - self.spread)
        missed = outcome.actual > said.served
        step = np.where(missed, probabilities, np.where(outcome.actual < said.served, probabilities - 1, 0.0))
        return Correction(self.offsets + RATE / per_horizon**0.5 * spread * step, spread)
