"""A clock that moves only when told to, or when somebody sleeps by it."""

from __future__ import annotations

import asyncio


class VirtualClock:
    """Wall clock and monotonic clock in one; sleeping moves it at once."""

    def __init__(self, at: float = 0.0) -> None:
        self._now = at

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._now += seconds
