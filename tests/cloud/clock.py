"""A clock that runs faster than the real one, so that minutes of a cloud take seconds of a test."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from controller.clock import SystemClock

_LATER_S = 10 * 365 * 86_400.0


@dataclass
class ScaledClock:
    """``speed`` seconds pass in each real one, from a moment ten years ahead.

    So a time of this clock is never taken for one of the real clock: whatever lies before ``origin`` is real.
    """

    speed: float = 1.0
    began: float = field(default_factory=SystemClock().now)
    _monotonic: float = field(default_factory=time.monotonic)

    @property
    def origin(self) -> float:
        return self.began + _LATER_S

    def now(self) -> float:
        return self.origin + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._monotonic) * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)

    def scaled(self, real: float) -> float:
        """Return what this clock showed at a real Unix time; its own times are returned as they are."""
        return real if real >= self.origin else self.origin + (real - self.began) * self.speed
