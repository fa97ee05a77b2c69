"""Learns the iteration time of one kind of engine, one interval at a time.

Recursive least squares in information form on relative residuals, with four additions:

* A Gaussian prior: directions in which the intervals show no spread keep the prior's value.
* Directional forgetting (Kulhavý 1987): a new interval replaces old information only along its own regressor,
  so that what a busy day taught is not lost over a quiet night.
* Robust weights: an interval beyond two standard deviations counts less the farther it is.
* A CUSUM over standardised residuals: a lasting bias is drift, and makes everything learned doubtful at once.

Coefficients are never negative: the estimate is the most likely one that is not.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from controller.domain.capacity import IterationEstimate, IterationTime
from controller.planner.capacity.batches import Batches

_Vector = NDArray[np.float64]
_SIZE = 4
NAMES = ("base", "per sequence", "per context token", "per prefill token")

LOOSE, FIRM = 1.0, 0.25
"""Relative standard deviation of a default prior, and of one that somebody measured."""
_KEPT = 0.998
"""Share of the information along a regressor that survives an interval with that regressor."""
_NOISE_AT_FIRST, _LEAST_NOISE, _MOST_NOISE = 0.05, 0.01, 0.2
_NOISE_MEMORY = 0.98
_USUAL = 2.0
"""Standardised residuals up to this have full weight."""
_CUSUM_SLACK, _CUSUM_CLIP, _CUSUM_ALARM = 1.0, 5.0, 20.0
_KEPT_AFTER_DRIFT = 0.002
IDENTIFIED = 0.2
"""A coefficient known to this relative standard deviation counts as learned."""
_SMALLEST_BASE = 1e-3
"""Least base time, relative to the prior: an iteration is never free."""


def new_estimate(key: str, prior: IterationTime, *, spread: float) -> IterationEstimate:
    """Begin from a prior with a relative standard deviation of ``spread`` in each coefficient."""
    precision = np.eye(_SIZE) / spread**2
    return IterationEstimate(
        key=key, prior=prior, mean=(1.0,) * _SIZE, precision=_flat(precision), noise=_NOISE_AT_FIRST
    )


def learned(estimate: IterationEstimate, seen: Batches, *, at: float) -> IterationEstimate:
    """Take in one interval that ended ``at``."""
    mean, precision = np.array(estimate.mean), _square(estimate.precision)
    row = np.array(seen.row) * _scale(estimate.prior) / seen.seconds
    variance = estimate.noise**2 + seen.idle**2
    residual = 1.0 - float(row @ mean)
    doubt = float(row @ np.linalg.solve(precision, row))
    standard = residual / math.sqrt(variance + doubt)
    weight = min(1.0, (_USUAL / abs(standard)) ** 2) if standard else 1.0
    information = _forget(precision, row) + weight / variance * np.outer(row, row)
    mean = mean + np.linalg.solve(information, row) * (weight / variance * residual)
    updated = replace(
        estimate,
        mean=tuple(mean.tolist()),
        precision=_flat(information),
        noise=_noise(estimate.noise, residual, doubt + seen.idle**2),
        intervals=estimate.intervals + 1,
        most_sequences=max(estimate.most_sequences, seen.sequences),
    )
    return _watched(updated, standard, at)


def iteration_time(estimate: IterationEstimate) -> IterationTime:
    """Return the most likely coefficients that are not negative, in seconds."""
    best = _not_negative(np.array(estimate.mean), _square(estimate.precision))
    best[0] = max(best[0], _SMALLEST_BASE)
    base, sequence, context, prefill = (best * _scale(estimate.prior)).tolist()
    return IterationTime(base_s=base, per_sequence_s=sequence, per_context_token_s=context, per_prefill_token_s=prefill)


def unidentified(estimate: IterationEstimate) -> tuple[str, ...]:
    """Coefficients that the intervals said little about: they keep the prior's value."""
    deviations = np.sqrt(np.diag(np.linalg.inv(_square(estimate.precision))))
    size = np.maximum(_not_negative(np.array(estimate.mean), _square(estimate.precision)), 0.1)
    return tuple(name for name, doubtful in zip(NAMES, deviations / size > IDENTIFIED, strict=True) if doubtful)


def _forget(precision: _Vector, row: _Vector) -> _Vector:
    towards = precision @ row
    along = float(row @ towards)
    if along <= 0.0:
        return precision
    return precision - (1.0 - _KEPT) / along * np.outer(towards, towards)


def _noise(noise: float, residual: float, doubt: float) -> float:
    # What the estimate did not know is not noise; a single outlier is hardly any.
    square = min(max(residual**2 - doubt, 0.0), (3.0 * noise) ** 2)
    updated = math.sqrt(_NOISE_MEMORY * noise**2 + (1.0 - _NOISE_MEMORY) * square)
    return min(max(updated, _LEAST_NOISE), _MOST_NOISE)


def _watched(estimate: IterationEstimate, standard: float, at: float) -> IterationEstimate:
    clipped = min(max(standard, -_CUSUM_CLIP), _CUSUM_CLIP)
    rising = max(0.0, estimate.rising + clipped - _CUSUM_SLACK)
    falling = max(0.0, estimate.falling - clipped - _CUSUM_SLACK)
    if max(rising, falling) < _CUSUM_ALARM:
        return replace(estimate, rising=rising, falling=falling)
    doubted = _KEPT_AFTER_DRIFT * _square(estimate.precision) + np.eye(_SIZE) / LOOSE**2
    return replace(estimate, rising=0.0, falling=0.0, drifted_at=at, precision=_flat(doubted))


def _not_negative(mean: _Vector, precision: _Vector) -> _Vector:
    """Minimise (x - mean)' precision (x - mean) over x >= 0 by trying every set of zeros."""
    if (mean >= 0.0).all():
        return mean
    best, least = np.maximum(mean, 0.0), math.inf
    for count in range(1, _SIZE):
        for zeros in itertools.combinations(range(_SIZE), count):
            free = [place for place in range(_SIZE) if place not in zeros]
            chosen = np.zeros(_SIZE)
            pull = precision[np.ix_(free, zeros)] @ mean[list(zeros)]
            chosen[free] = mean[free] + np.linalg.solve(precision[np.ix_(free, free)], pull)
            gap = chosen - mean
            cost = float(gap @ precision @ gap)
            if (chosen >= 0.0).all() and cost < least:
                best, least = chosen, cost
    return best


def _scale(prior: IterationTime) -> _Vector:
    return np.array(prior.coefficients)


def _square(values: tuple[float, ...]) -> _Vector:
    return np.array(values).reshape(_SIZE, _SIZE)


def _flat(matrix: _Vector) -> tuple[float, ...]:
    return tuple(((matrix + matrix.T) / 2.0).ravel().tolist())
