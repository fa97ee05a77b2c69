"""Quantiles of many values in little memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

_BUCKETS_PER_E_FOLD = 120.0
_SMALLEST = 1e-6


class LogHistogram:
    """Counts positive values in buckets 0.8 % wide; quantiles are within 0.5 % of the true value.

    Values below a microsecond share the lowest bucket, whose quantile reads 0.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count one value (seconds)."""
        bucket = -1 if value < _SMALLEST else int(math.log(value / _SMALLEST) * _BUCKETS_PER_E_FOLD)
        self.counts[bucket] += 1

    def quantile(self, probability: float) -> float | None:
        """Smallest value that at least ``probability`` of the values do not exceed; None without values."""
        total = self.counts.total()
        if not total:
            return None
        wanted = max(1, math.ceil(probability * total - 1e-9))
        for bucket in sorted(self.counts):
            wanted -= self.counts[bucket]
            if wanted <= 0:
                break
        return 0.0 if bucket < 0 else float(f"{_SMALLEST * math.exp((bucket + 0.5) / _BUCKETS_PER_E_FOLD):.4g}")

    @classmethod
    def merged(cls, histograms: Iterable[LogHistogram]) -> LogHistogram:
        """One histogram of all their values."""
        result = cls()
        for histogram in histograms:
            result.counts.update(histogram.counts)
        return result
