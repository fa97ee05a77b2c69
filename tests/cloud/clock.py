"""A clock that runs faster than the real one, so that minutes of a cloud take seconds of a test."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.clock import SystemClock

_LATER_S = 10 * 365 * 86_400.0


@dataclass
class ScaledClock:
    """``speed`` seconds pass in each real one, from a moment ten years ahead.

    So a time of this clock is never taken for one of the real clock: whatever lies before ``origin`` is real. While a
    piece of work takes longer than it may (``at_most``), the clock stands still, as on a machine that is busy.
    """

    speed: float = 1.0
    began: float = field(default_factory=SystemClock().now)
    _monotonic: float = field(default_factory=time.monotonic)
    _limits: dict[int, float] = field(default_factory=dict)
    _stood: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    """Real seconds since the beginning, and for how long the clock had stood still until then, in its own seconds."""

    @property
    def origin(self) -> float:
        return self.began + _LATER_S

    def now(self) -> float:
        return self.origin + self.monotonic()

    def monotonic(self) -> float:
        real = time.monotonic() - self._monotonic
        at = real * self.speed - self._stood[-1][1]
        limit = min(self._limits.values(), default=at)
        if at > limit:
            self._stood.append((real, self._stood[-1][1] + at - limit))
        return min(at, limit)

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Let no more than so many seconds pass in here."""
        limit = self.monotonic() + seconds
        key = max(self._limits, default=0) + 1
        self._limits[key] = limit
        try:
            yield
        finally:
            self.monotonic()
            del self._limits[key]

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)

    def scaled(self, real: float) -> float:
        """Return what this clock showed at a real Unix time; its own times are returned as they are."""
        if real >= self.origin:
            return real
        since = real - self.began
        _, stood = self._stood[max(0, bisect.bisect_right(self._stood, (since, float("inf"))) - 1)]
        return self.origin + since * self.speed - stood
