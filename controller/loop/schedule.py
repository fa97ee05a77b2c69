"""Fixed-rate ticking: no drift, no piling up, and a stop that lets the running tick end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from controller.ports import Clock


async def every(
    interval_s: Callable[[], float],
    tick: Callable[[], Awaitable[object]],
    *,
    clock: Clock,
    stop: asyncio.Event,
    skipped: Callable[[], None],
    grace_s: float = 5.0,
) -> None:
    """Run ``tick`` now and then at every multiple of the interval, until ``stop`` is set.

    The interval is read before each wait; a changed one counts from the last due time. A tick that
    outlasts its interval loses the due times it ran over (``skipped`` is called for each) and never
    moves the others. After ``stop`` the running tick has ``grace_s`` seconds to end, then it is cancelled.
    """
    due = clock.monotonic()
    while not stop.is_set():
        await _run_out(tick, stop, grace_s)
        interval = interval_s()
        due += interval
        while due < clock.monotonic():
            skipped()
            due += interval
        await _wait(clock.sleep(due - clock.monotonic()), stop)


async def _run_out(tick: Callable[[], Awaitable[object]], stop: asyncio.Event, grace_s: float) -> None:
    running = asyncio.ensure_future(tick())
    await _unless(stop, running)
    if not running.done():
        await asyncio.wait({running}, timeout=grace_s)
    await _cancel(running)


async def _wait(awaitable: Awaitable[object], stop: asyncio.Event) -> None:
    task = asyncio.ensure_future(awaitable)
    await _unless(stop, task)
    await _cancel(task)


async def _unless(stop: asyncio.Event, task: asyncio.Future[Any]) -> None:
    """Wait for the task, but no longer than until ``stop``."""
    stopping = asyncio.ensure_future(stop.wait())
    waited: set[asyncio.Future[Any]] = {task, stopping}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    await _cancel(stopping)


async def _cancel(task: asyncio.Future[Any]) -> None:
    """End the task if it still runs; raise what it raised, other than its cancellation."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
