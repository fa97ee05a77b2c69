"""A demand history resampled to steps that suit one horizon. A gap stays a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.domain.snapshot import History

FloatArray = NDArray[np.float64]

STEPS_PER_HORIZON = 8
"""A horizon is cut into about this many steps, so that cost and noise do not grow with it."""

MIN_STEPS = 24
"""A short history is not made coarser than this many steps."""

_KNOWN_SHARE = 0.5
"""A horizon's maximum counts as realised only when this share of its steps is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Evenly spaced steps, oldest first, ending with a known one; NaN where nothing is known.

    ``means`` and ``peaks`` are the mean and the largest bin of each step, in the signal's unit.
    ``ahead`` is the horizon in steps, rounded up.
    """

    step_s: float
    ahead: int
    means: FloatArray
    peaks: FloatArray

    def realised(self, ahead: int, origins: int) -> FloatArray:
        """Largest demand in the ``ahead`` steps after each of the last ``origins`` steps.

        NaN where the future has not happened yet, or too little of it is known.
        """
        padded = np.concatenate([self.peaks[-origins:], np.full(ahead, np.nan)])
        futures = np.lib.stride_tricks.sliding_window_view(padded[1:], ahead)
        known = ~np.isnan(futures)
        largest: FloatArray = np.where(known, futures, -np.inf).max(axis=1)
        largest[known.sum(axis=1) < _KNOWN_SHARE * ahead] = np.nan
        largest[origins - ahead :] = np.nan
        return largest


def known_bins(history: History) -> FloatArray:
    """Return the history's bins up to the last known one: NaN where unknown, negatives as 0."""
    values = np.array(history.values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if known.size == 0:
        return np.empty(0)
    values = np.maximum(values[: known[-1] + 1], 0.0)
    values[~np.isfinite(values)] = np.nan
    return values


def resample(bins: FloatArray, *, step_s: float, horizon_s: float) -> Series:
    """Join bins into steps of about an eighth of the horizon, counted back from the newest bin.

    ``bins`` must end with a known bin.
    """
    known = int(np.count_nonzero(~np.isnan(bins)))
    horizon_bins = max(1, math.ceil(horizon_s / step_s - 1e-9))
    width = max(1, min(horizon_bins // STEPS_PER_HORIZON, known // MIN_STEPS))
    whole = bins[bins.size % width :].reshape(-1, width)
    present = ~np.isnan(whole)
    counts = present.sum(axis=1)
    sums = np.where(present, whole, 0.0).sum(axis=1)
    peaks = np.where(present, whole, -np.inf).max(axis=1)
    nothing = counts == 0
    return Series(
        step_s=step_s * width,
        ahead=math.ceil(horizon_bins / width),
        means=np.where(nothing, np.nan, sums / np.maximum(counts, 1)),
        peaks=np.where(nothing, np.nan, peaks),
    )
