"""The real clock: the only place where time is read."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Wall clock, monotonic clock and asyncio sleep of this machine."""

    def now(self) -> float:
        """Return wall-clock time in Unix seconds."""
        return time.time()  # noqa: TID251 - this is the clock

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, never going backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the event loop."""
        await asyncio.sleep(seconds)
