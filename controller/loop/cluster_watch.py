"""Looks at the cluster once a tick, beside the collectors."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controller.domain.cluster import ClusterFound
from controller.ports import Clock, ClusterObserver

_ABANDON_AFTER_DEADLINES = 4
_CANCEL_S = 0.5


@dataclass(frozen=True, slots=True)
class _Look:
    task: asyncio.Task[ClusterFound]
    since: float


class ClusterWatch:
    """Asks the observer, at most once at a time, and takes what has come by the deadline.

    A look that misses it is left running, and its late answer is taken by the next one; one that has not come after
    several deadlines is cancelled and begun anew. Without an observer there is nothing to see.
    """

    def __init__(self, *, observer: ClusterObserver | None, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock
        self._look: _Look | None = None

    async def look(self, *, wanted: bool = True, deadline_s: float) -> ClusterFound | None:
        """Return what is found; nothing of it is known when it does not come in time. Never raises for the observer.

        None when there is nobody to ask, or nothing is ``wanted``.
        """
        if self._observer is None or not wanted:
            return None
        now, started = self._clock.now(), self._clock.monotonic()
        await self._abandon(started - _ABANDON_AFTER_DEADLINES * deadline_s)
        look = self._look or _Look(asyncio.create_task(_observe(self._observer, now)), started)
        self._look = look
        await asyncio.wait({look.task}, timeout=deadline_s)
        if not look.task.done():
            return ClusterFound(at=now, problems=(f"the cluster did not answer within {deadline_s:g} s",))
        self._look = None
        if error := look.task.exception():
            return ClusterFound(at=now, problems=(f"the cluster could not be read: {type(error).__name__}: {error}",))
        return look.task.result()

    async def close(self) -> None:
        """End a look under way and release the observer."""
        await self._abandon(float("inf"))
        if self._observer is not None:
            await self._observer.close()

    async def _abandon(self, started_before: float) -> None:
        look = self._look
        if look is None or look.task.done() or look.since >= started_before:
            return
        self._look = None
        look.task.cancel()
        await asyncio.wait({look.task}, timeout=_CANCEL_S)


async def _observe(observer: ClusterObserver, now: float) -> ClusterFound:
    return await observer.observe(now)
