"""A clock that runs faster than the real one, so that minutes of a cloud take seconds of a watcher."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.clock import SystemClock
from controller.ports import Clock

_LATER_S = 10 * 365 * 86_400.0


@dataclass
class ScaledClock:
    """``speed`` seconds pass in each real one, from a moment ten years ahead.

    So a time of this clock is never taken for one of the real clock: whatever lies before ``origin`` is real. While a
    piece of work takes longer than it may (``at_most``), the clock is as slow as the real one: the machine is busy.
    """

    speed: float = 1.0
    real: Clock = field(default_factory=SystemClock)
    began: float = 0.0
    _monotonic: float = 0.0
    _limits: dict[int, float] = field(default_factory=dict)
    _stood: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    """Real seconds since the beginning, and how far the clock had fallen behind its speed then, in its own seconds."""

    def __post_init__(self) -> None:
        self.began, self._monotonic = self.real.now(), self.real.monotonic()

    @property
    def origin(self) -> float:
        """What the clock showed at first."""
        return self.began + _LATER_S

    def now(self) -> float:
        """Unix seconds of this clock."""
        return self.origin + self.monotonic()

    def monotonic(self) -> float:
        """Seconds of this clock since it began."""
        real = self.real.monotonic() - self._monotonic
        at = real * self.speed - self._stood[-1][1]
        limit = min(self._limits.values(), default=at)
        if at > limit:
            # Since the limit the clock has run as the real one. Who waits for a time of it must not wait for ever.
            slow = (at - limit) / self.speed
            self._stood.append((real, self._stood[-1][1] + at - limit - slow))
            at = limit + slow
            self._limits = {key: max(one, at) for key, one in self._limits.items()}
        return at

    @contextlib.contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """Let so many seconds pass in here as fast as ever; after them the clock runs no faster than the real one."""
        limit = self.monotonic() + seconds
        key = max(self._limits, default=0) + 1
        self._limits[key] = limit
        try:
            yield
        finally:
            self.monotonic()
            del self._limits[key]

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        await self.real.sleep(seconds / self.speed)

    def scaled(self, real: float) -> float:
        """Return what this clock showed at a real Unix time; its own times are returned as they are."""
        if real >= self.origin:
            return real
        since = real - self.began
        _, stood = self._stood[max(0, bisect.bisect_right(self._stood, (since, float("inf"))) - 1)]
        return self.origin + since * self.speed - stood
