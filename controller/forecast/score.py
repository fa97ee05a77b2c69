"""How good predictions were, and how far off the next one may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.forecast.series import FloatArray


def pinball_loss(actual: FloatArray, predicted: FloatArray | float, probability: float) -> FloatArray:
    """Pinball (quantile) loss of each prediction, in the unit of ``actual``; 0 is perfect.

    Being under by e costs ``probability * e``, being over by e costs ``(1 - probability) * e``. Its
    expectation is least at the true quantile: Koenker & Bassett, "Regression Quantiles", Econometrica
    46 (1978).
    """
    error = np.asarray(actual) - predicted
    return np.maximum(probability * error, (probability - 1) * error)


@dataclass(frozen=True, slots=True)
class Residuals:
    """What was realised minus what was predicted at past origins, ascending, with weights above 0.

    A weight of 1 is a fresh origin's; the sum of weights is how many fresh origins they are worth.
    """

    values: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, errors: FloatArray, weights: FloatArray) -> Residuals:
        """Sort errors, keeping each with its weight."""
        order = np.argsort(errors, kind="stable")
        return cls(errors[order], weights[order])

    def quantile(self, probability: float) -> float:
        """Smallest residual with at least ``probability`` of the weight at or below it."""
        reached = np.searchsorted(np.cumsum(self.weights), probability * self.weights.sum() * (1 - 1e-12))
        return float(self.values[min(int(reached), self.values.size - 1)])

    @property
    def typical(self) -> float:
        """Weighted median of their sizes: what a surprise leaves alone."""
        return Residuals.of(np.abs(self.values), self.weights).quantile(0.5)

    def covering_quantile(self, probability: float) -> float:
        """Quantile that leans to the high side while residuals are few.

        As in split conformal prediction the rank is raised by (n + 1) / n, with n the sum of weights;
        what would lie beyond the largest residual is extrapolated by the residuals' range.
        """
        count = float(self.weights.sum())
        wanted = probability * (count + 1) / count
        if wanted <= 1:
            return self.quantile(wanted)
        spread = float(self.values[-1] - self.values[0])
        return float(self.values[-1]) + (wanted - 1) * spread


def calibrated_loss(residuals: Residuals, probabilities: Sequence[float]) -> float:
    """Mean pinball loss of predictions that are shifted by their own residual quantiles.

    Every candidate is given the same single shift per probability, so the one whose errors scatter
    least wins, whatever its bias.
    """
    losses = [
        np.average(pinball_loss(residuals.values, residuals.quantile(p), p), weights=residuals.weights)
        for p in probabilities
    ]
    return float(np.mean(losses))
