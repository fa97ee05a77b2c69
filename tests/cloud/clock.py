"""A clock that runs faster than the real one, so that minutes of a cloud take seconds of a test."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from controller.clock import SystemClock


@dataclass
class ScaledClock:
    """``speed`` seconds pass in each real one. ``origin`` is the Unix time, real and scaled, at which it begins."""

    speed: float = 1.0
    origin: float = field(default_factory=SystemClock().now)
    _began: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        return self.origin + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)

    def scaled(self, real: float) -> float:
        """Return what this clock showed at a real Unix time."""
        return self.origin + (real - self.origin) * self.speed
