"""Answers from the future: a clock that is ahead would keep what it dates fresh long after it fell silent."""

from __future__ import annotations

from dataclasses import replace

from controller.domain.scrape import Scrape

TOLERATED_S = 5.0
"""How far two clocks that are kept by NTP may be apart, generously."""


def believed_at(scrape: Scrape, now: float) -> Scrape:
    """Return the scrape, or in its place a failure where it is dated more than 5 s after ``now``."""
    ahead_s = scrape.at - now
    if ahead_s <= TOLERATED_S:
        return scrape
    error = f"its clock is {ahead_s:.0f} s ahead of this one; let both follow NTP"
    return replace(scrape, at=now, ok=False, samples=(), serve=None, errors=(*scrape.errors, error))
