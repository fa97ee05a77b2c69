"""Arithmetic on recorded points of one series. Counters only ever grow: a drop is a restart at 0."""

from __future__ import annotations

import itertools
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field


def increase(values: Sequence[float]) -> float:
    """How much a counter grew over consecutive ``values``; after a drop it counts from 0. Never negative."""
    total = 0.0
    for previous, value in itertools.pairwise(values):
        total += value - previous if value >= previous else value
    return total


@dataclass(frozen=True, slots=True)
class Growth:
    """A counter's growth and the real time that it took, in seconds."""

    increase: float
    seconds: float


@dataclass(slots=True)
class Series:
    """Recent points of one series, oldest first, with strictly ordered scrapes.

    ``process`` tells the exporting process apart from others on the same page; ``bound`` is a bucket's
    upper bound (``le``), NaN for anything else.
    """

    source: str
    labels: tuple[tuple[str, str], ...]
    process: str
    bound: float = math.nan
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    @property
    def last_at(self) -> float:
        """Time of the newest point."""
        return self.times[-1]

    @property
    def last(self) -> float:
        """Value of the newest point; NaN where the exposed gauge was not usable."""
        return self.values[-1]

    def append(self, at: float, value: float) -> None:
        """Add a point that is not older than the newest one."""
        self.times.append(at)
        self.values.append(value)

    def drop_before(self, oldest: float) -> None:
        """Forget points older than ``oldest``, the newest excepted."""
        if self.times[0] >= oldest:
            return
        keep_from = min(bisect_left(self.times, oldest), len(self.times) - 1)
        del self.times[:keep_from]
        del self.values[:keep_from]

    def moved(self) -> bool | None:
        """Whether a counter changed between its two newest points; None while there is only one."""
        if len(self.values) < 2:  # noqa: PLR2004 - a change needs two points
            return None
        return self.values[-1] != self.values[-2]

    def growth(self, since: float, *, zero_at: float | None = None) -> Growth | None:
        """Growth from the newest point at or before ``since``, else from the oldest; None if unknowable.

        A counter whose oldest point is 0 had counted nothing before either, so its growth is that of the
        whole time since ``since``. ``zero_at`` is a time when it is known to have been 0, such as its
        process' start; it helps when it is not before ``since``.
        """
        begin = max(bisect_right(self.times, since) - 1, 0)
        grown = increase(self.values[begin:])
        started = self.times[begin]
        if started > since:
            if self.values[0] == 0.0:
                started = since
            elif zero_at is not None and zero_at >= since:
                grown += self.values[0]
                started = since
        seconds = self.last_at - started
        return Growth(grown, seconds) if seconds > 0.0 else None
