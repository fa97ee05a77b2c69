"""Where a split request goes, and what is counted of it. Free of Ray."""

from __future__ import annotations

import hashlib
import random

from pydantic import BaseModel, Field

STABLE, CANARY = "stable", "canary"
BOUNDS_S = tuple(round(0.001 * 1.15**exponent, 6) for exponent in range(86))
"""Upper bounds of the buckets of time to first byte: 1 ms to 145 s, 15 % apart."""


def to_canary(key: str | None, share: float) -> bool:
    """Tell where a request goes. A key that once went to the canary still does when the share grows."""
    if key is None:
        return random.random() < share  # noqa: S311 - no secret
    drawn = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
    return drawn < share


class Counts(BaseModel):
    """How one build did since the last change of shares. ``buckets`` are requests by ``BOUNDS_S``, the last beyond."""

    requests: int = 0
    failed: int = 0
    buckets: list[int] = Field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))

    def add(self, *, first_s: float | None) -> None:
        """Count one request; None when it failed."""
        self.requests += 1
        if first_s is None:
            self.failed += 1
            return
        self.buckets[next((i for i, bound in enumerate(BOUNDS_S) if first_s <= bound), len(BOUNDS_S))] += 1

    def merge(self, other: Counts) -> None:
        """Add another one's."""
        self.requests += other.requests
        self.failed += other.failed
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
