"""A signal's long past at coarse steps, with the sums that make looking back cheap."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controller.domain.snapshot import History
from controller.forecast.arrays import FloatArray, IntArray

_KERNEL_MEMORIES = 5
"""An exponential mean forgets all beyond this many memories."""

_LEAST_WEIGHT = 1e-3
_FULL_SHARE = 0.8
_BEFORE_MEMORIES = 300


@dataclass(frozen=True, slots=True)
class Past:
    """Means of ``step_s`` each, oldest first, ending at ``end``; NaN where unknown, never negative."""

    step_s: float
    end: float
    values: FloatArray
    _sums: FloatArray = field(init=False, repr=False)
    _counts: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = np.isfinite(self.values)
        sums = np.cumsum(np.where(known, self.values, 0.0))
        object.__setattr__(self, "_sums", np.concatenate([[0.0], sums]))
        object.__setattr__(self, "_counts", np.concatenate([[0.0], np.cumsum(known)]))

    @classmethod
    def of(cls, history: History) -> Past:
        """Read a history. What is no finite number is a gap."""
        values = np.array(history.values, dtype=np.float64)
        return cls(history.step_s, history.end, np.where(np.isfinite(values), np.maximum(values, 0.0), np.nan))

    @property
    def size(self) -> int:
        """How many steps, gaps included."""
        return self.values.size

    def ends(self, places: IntArray) -> FloatArray:
        """When the steps at places end (Unix seconds)."""
        return np.asarray(self.end - (self.size - 1 - places) * self.step_s, dtype=np.float64)

    def means(self, last: IntArray, width: int) -> FloatArray:
        """Mean of the known ones of the ``width`` steps ending with each of ``last``; NaN without any.

        Places outside the past count as unknown.
        """
        stop = np.clip(last + 1, 0, self.size)
        start = np.clip(last + 1 - width, 0, self.size)
        counts = self._counts[stop] - self._counts[start]
        sums = self._sums[stop] - self._sums[start]
        return np.where(counts > 0, np.maximum(sums, 0.0) / np.maximum(counts, 1), np.nan)

    def smoothed(self, last: IntArray, memory: float) -> FloatArray:
        """Exponentially weighted mean of the steps up to each of ``last``; NaN where none is known.

        After a gap the first values count as if the mean of a longer memory had been seen before them.
        """
        reach = round(_KERNEL_MEMORIES * memory)
        kernel = np.exp(-np.arange(reach) / memory)
        first = int(last.min()) - reach + 1
        stretch = self.at(np.arange(first, int(last.max()) + 1))
        known = np.isfinite(stretch)
        weights = np.convolve(known.astype(np.float64), kernel, "valid")[last - last.min()]
        sums = np.convolve(np.where(known, stretch, 0.0), kernel, "valid")[last - last.min()]
        lacking = np.maximum(0.0, _FULL_SHARE * kernel.sum() - weights)
        before = self.means(last - 1, round(_BEFORE_MEMORIES * memory)) if lacking.any() else np.zeros(last.size)
        lacking = np.where(np.isfinite(before), lacking, 0.0)
        weights, sums = weights + lacking, sums + lacking * np.where(np.isfinite(before), before, 0.0)
        return np.where(weights > _LEAST_WEIGHT, sums / np.maximum(weights, _LEAST_WEIGHT), np.nan)

    def at(self, places: IntArray) -> FloatArray:
        """Values at places; NaN outside the past."""
        inside = (places >= 0) & (places < self.size)
        return np.where(inside, self.values[np.clip(places, 0, self.size - 1)], np.nan)

    def after(self, origins: IntArray, ahead: int, *, maximum: bool) -> FloatArray:
        """What came: the largest of the ``ahead`` steps after each origin, or the last of them."""
        return self.largest(origins, ahead) if maximum else self.at(origins + ahead)

    def largest(self, after: IntArray, ahead: int) -> FloatArray:
        """Largest of the ``ahead`` steps after each of ``after``; NaN unless at least half are known."""
        futures = self.at(after[:, None] + np.arange(1, ahead + 1))
        known = np.isfinite(futures)
        largest = np.where(known, futures, -np.inf).max(axis=1)
        return np.where(known.sum(axis=1) * 2 >= ahead, largest, np.nan)
