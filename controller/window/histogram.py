"""Quantiles and means from exact cumulative bucket counts, never from a histogram's sum."""

from __future__ import annotations

import math
from collections.abc import Mapping


def quantile(buckets: Mapping[float, float], probability: float) -> float | None:
    """Value at ``probability``, linear inside its bucket; None when nothing was observed.

    ``buckets`` maps upper bounds to cumulative counts. In the +Inf bucket the answer is the highest finite
    bound: the true value is at least that.
    """
    shares = _shares(buckets)
    total = sum(count for _, _, count in shares)
    if total <= 0.0:
        return None
    left = probability * total
    for low, high, count in shares:
        if count > 0.0 and left <= count:
            return low if math.isinf(high) else low + (high - low) * left / count
        left -= count
    low, high, _ = [share for share in shares if share[2] > 0.0][-1]
    return low if math.isinf(high) else high


def mean(buckets: Mapping[float, float]) -> float | None:
    """Estimate the mean as if observations lay in the middle of their bucket; None when there were none."""
    shares = _shares(buckets)
    total = sum(count for _, _, count in shares)
    if total <= 0.0:
        return None
    return sum(count * (low if math.isinf(high) else (low + high) / 2) for low, high, count in shares) / total


def beyond(buckets: Mapping[float, float], limit: float) -> tuple[float, float]:
    """Return how many observations lie above ``limit``, linear inside its bucket, and how many there are."""
    shares = _shares(buckets)
    above = 0.0
    for low, high, count in shares:
        if low >= limit:
            above += count
        elif high > limit:
            above += count if math.isinf(high) else count * (high - limit) / (high - low)
    return above, sum(count for _, _, count in shares)


def _shares(buckets: Mapping[float, float]) -> list[tuple[float, float, float]]:
    """(lower bound, upper bound, observations) per bucket, in order."""
    shares: list[tuple[float, float, float]] = []
    low = below = 0.0
    if not any(math.isfinite(bound) for bound in buckets):
        return shares  # without a finite bound a count tells nothing about values
    for high in sorted(buckets):
        # Buckets of one scrape can be torn by a restart; a bucket never holds fewer than the one below it.
        cumulative = max(buckets[high], below)
        shares.append((low, high, cumulative - below))
        low, below = high, cumulative
    return shares
