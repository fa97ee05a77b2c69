"""Holds the share and the counts of all splitting replicas. Free of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from serving.split_counts import BOUNDS_S, CANARY, STABLE, Counts


class SplitBoard:
    """One for all splitting replicas; it loses everything when it dies, and the share is the first one again.

    A share may be lent: when whoever judges the canary is not heard of for so long, it is 0 again (``lapsed``).
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._share = share
        self._until: float | None = None
        self._lapsed = False
        self._note = ""
        self._begin_counting()

    def exchange(self, epoch: int, counted: Mapping[str, Any]) -> tuple[float, int]:
        """Take what a replica has counted under ``epoch``, and return the share and the epoch that hold now."""
        self._look_at_the_clock()
        if epoch == self._epoch:
            for name, counts in counted.items():
                self._counts[name].merge(Counts.model_validate(counts))
        return self._share, self._epoch

    def set(self, share: float, for_s: float | None, note: str | None) -> None:
        """Set the share, for ``for_s`` seconds from now, else for good. A new share begins to count anew.

        ``note`` is kept for whoever asks; None leaves the one that is there.
        """
        self._look_at_the_clock()
        if share != self._share or self._lapsed:
            self._begin_counting()
        self._share, self._lapsed = share, False
        self._until = None if for_s is None else self._clock() + for_s
        self._note = self._note if note is None else note

    def read(self) -> dict[str, Any]:
        """Return everything."""
        self._look_at_the_clock()
        counts = {name: counts.model_dump() for name, counts in self._counts.items()}
        return {"share": self._share, "lapsed": self._lapsed, "note": self._note, "bounds_s": BOUNDS_S, **counts}

    def _look_at_the_clock(self) -> None:
        if self._until is not None and self._clock() >= self._until:
            self._share, self._until, self._lapsed = 0.0, None, True
            self._begin_counting()

    def _begin_counting(self) -> None:
        # Never the same again, not even in the next life of the board.
        self._epoch = time.time_ns()
        self._counts = {STABLE: Counts(), CANARY: Counts()}
