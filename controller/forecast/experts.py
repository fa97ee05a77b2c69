"""Many predictions become one: each is corrected by its own past errors and weighed by its past losses.

A correction is an offset in units of the signal's unrest, moved a little after every outcome so that the
promised share of outcomes lies below (online quantile tracking: the P term of Angelopoulos, Candès &
Tibshirani, "Conformal PID control for time series prediction", 2023). The weights are exponential in the
discounted pinball loss (Vovk, "A game of prediction with expert advice", 1998; for quantiles see
Berrisch & Ziel, "CRPS learning", 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.pending import Outcome

LEARNING_RATE = np.array([0.04, 0.02, 0.01])
"""How far an offset moves with one outcome, in typical errors, once it has settled."""

_FIRST_RATE = 0.2
_SLOWING = 0.6
SHARPNESS = 40.0
"""A variant whose mean loss is a tenth of the average loss higher weighs e^-4 of the best."""

_MEMORY = 60.0
"""Horizons after which a loss counts half (at least 100 outcomes)."""

_FEWEST = 100.0
_EXTREME = 30.0
_TINY = float(np.finfo(np.float64).tiny)
_TYPICAL = 1.25
"""A normal error's standard deviation over its mean size."""

_SCALE_DOUBT = np.array([2.0, 1.0, 0.0])
"""Prior reluctance to believe that the band should follow the unrest quickly."""

_UNSURE = 100.0
"""Horizons of outcomes after which losses count half against prior doubt."""


@dataclass(frozen=True, slots=True)
class Experts:
    """What was learned about each variant, per probability (rows), variant (columns) and scale (last axis)."""

    offsets: FloatArray
    spread: FloatArray
    seen: FloatArray
    loss: FloatArray
    typical: FloatArray
    scored: float = 0.0

    @classmethod
    def fresh(cls, probabilities: tuple[float, ...], variants: int, *, scales: int, steps: float) -> Experts:
        """Offsets as for ``steps`` independent normal errors, of which the largest counts."""
        prior = [_TYPICAL * NormalDist().inv_cdf(probability ** (1 / max(1.0, steps))) for probability in probabilities]
        shape = (len(probabilities), variants, scales)
        offsets = np.broadcast_to(np.array(prior)[:, None, None], shape).copy()
        return cls(offsets, np.full(shape, 0.5), np.zeros(variants), np.zeros(shape), np.zeros(len(probabilities)))

    def quantiles(self, points: FloatArray, scales: FloatArray, fixed: FloatArray) -> FloatArray:
        """Each variant's corrected quantile. ``fixed`` is 0 where a variant is taken as it is, else 1."""
        corrected: FloatArray = points[:, :, None] + scales * self.offsets * fixed[:, None]
        return np.maximum(corrected, 0.0)

    def weights(self, quantiles: FloatArray, doubt: FloatArray, *, per_horizon: float) -> FloatArray:
        """Weights of the variants that have an opinion; they add up to 1 for each probability."""
        horizons = self.scored / per_horizon
        belief = SHARPNESS * horizons / (horizons + _UNSURE)
        typical = np.maximum(self.typical, _TINY)[:, None, None]
        excess = belief * (self.loss - self.loss.min(axis=(1, 2), keepdims=True)) / typical
        excess += (doubt[:, None] + _SCALE_DOUBT) / (1 + horizons / _UNSURE)
        excess[~np.isfinite(quantiles)] = np.inf
        weights: FloatArray = np.exp(excess.min(axis=(1, 2), keepdims=True) - excess)
        weights /= weights.sum(axis=(1, 2), keepdims=True)
        return weights

    def learning(self, outcome: Outcome, probabilities: FloatArray, *, per_horizon: float) -> Experts:
        """What is known after one more outcome."""
        said = outcome.prediction
        # Before the first surprise there is no unit to measure errors in.
        opinion = np.isfinite(said.points[:, :, None]) & (said.scales > 0)
        scales = np.where(said.scales > 0, said.scales, 1.0)
        errors = np.clip((outcome.actual - said.points[:, :, None]) / scales, -_EXTREME, _EXTREME)
        beyond = np.where(opinion, errors - self.offsets, 0.0)
        p = probabilities[:, None, None]
        spread = self.spread + 0.02 * (np.minimum(np.abs(beyond), 10 * self.spread) - self.spread) * opinion
        rate = np.maximum(LEARNING_RATE, (_FIRST_RATE / (self.seen + 1) ** _SLOWING)[:, None])
        moved = self.offsets + opinion * 2 * rate * spread * np.where(beyond > 0, p, p - 1)
        return Experts(
            np.where(beyond == 0, self.offsets, moved),
            spread,
            self.seen + opinion[0, :, 0],
            *self._losses(outcome, p, per_horizon),
            scored=self.scored + 1,
        )

    def _losses(self, outcome: Outcome, p: FloatArray, per_horizon: float) -> tuple[FloatArray, FloatArray]:
        quantiles = outcome.prediction.quantiles
        opinion = np.isfinite(quantiles)
        error = outcome.actual - np.where(opinion, quantiles, 0.0)
        loss = np.where(opinion, np.maximum(p * error, (p - 1) * error), 0.0)
        mean = loss.sum(axis=(1, 2)) / np.maximum(opinion.sum(axis=(1, 2)), 1)
        loss = np.where(opinion, loss, mean[:, None, None])
        kept = 0.5 ** (1 / max(_FEWEST, _MEMORY * per_horizon))
        return kept * self.loss + loss, kept * self.typical + mean


def mean(weights: FloatArray, values: FloatArray) -> FloatArray:
    """Weighted mean of the values that are known, one per probability."""
    # Reckoned from one of them, so that equal values have exactly that mean.
    known = np.isfinite(values)
    one = np.where(known, values, np.inf).min(axis=(1, 2))
    beyond = np.where(known, values - one[:, None, None], 0.0)
    total: FloatArray = one + (weights * beyond).sum(axis=(1, 2))
    return total
