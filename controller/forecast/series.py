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

_CADENCE_FROM = 100
"""Newest measurements whose median distance says how often there is one."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """A history up to its newest known bin, no finer than it was measured; NaN where unknown."""

    step_s: float
    end: float
    values: FloatArray

    @property
    def known(self) -> int:
        """How many are known."""
        return int(np.count_nonzero(~np.isnan(self.values)))


def measured_bins(history: History) -> Bins | None:
    """Read a history; None when nothing in it is known. Negative values count as 0.

    When demand is measured less often than there are bins (a tick of 10 s and bins of 5 s), most bins
    between two measurements are empty without anything being amiss; such bins are joined first.
    """
    values = np.array(history.values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if known.size == 0:
        return None
    values = np.where(np.isfinite(values), np.maximum(values, 0.0), np.nan)[: known[-1] + 1]
    cadence = int(np.median(np.diff(known[-_CADENCE_FROM:]))) if known.size > 1 else 1
    means, _ = _join(values, cadence)
    return Bins(step_s=history.step_s * cadence, end=history.start + history.step_s * values.size, values=means)


def resample(bins: Bins, *, horizon_s: float) -> Series:
    """Join bins into steps of about an eighth of the horizon, counted back from the newest bin."""
    horizon_bins = max(1, math.ceil(horizon_s / bins.step_s - 1e-9))
    width = max(1, min(horizon_bins // STEPS_PER_HORIZON, bins.known // MIN_STEPS))
    means, peaks = _join(bins.values, width)
    return Series(step_s=bins.step_s * width, ahead=math.ceil(horizon_bins / width), means=means, peaks=peaks)


def _join(values: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """Means and maxima of ``width`` values each, counted from the newest; NaN where all are."""
    whole = values[values.size % width :].reshape(-1, width)
    present = ~np.isnan(whole)
    counts = present.sum(axis=1)
    sums = np.where(present, whole, 0.0).sum(axis=1)
    largest = np.where(present, whole, -np.inf).max(axis=1)
    nothing = counts == 0
    return np.where(nothing, np.nan, sums / np.maximum(counts, 1)), np.where(nothing, np.nan, largest)
