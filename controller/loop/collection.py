"""Asks every collector at once and takes what has come by the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.domain.scrape import Scrape
from controller.ports import Clock, Collector

_ABANDON_AFTER_DEADLINES = 4
_CANCEL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What came in one pass, answers of an earlier pass included, and who did not answer."""

    scrapes: tuple[Scrape, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Running:
    task: asyncio.Task[Sequence[Scrape]]
    since: float


class Collection:
    """Runs collectors in parallel, each at most once at a time.

    One that misses the deadline counts as failed in this pass and is left running: its late answer is
    returned by the next pass. One that has not answered after several deadlines is cancelled and asked anew.
    """

    def __init__(self, *, collectors: Mapping[str, Collector], clock: Clock) -> None:
        self._collectors = dict(collectors)
        self._clock = clock
        self._running: dict[str, _Running] = {}

    async def collect(self, now: float, *, deadline_s: float) -> Collected:
        """Return what has come within ``deadline_s`` seconds. Never raises for a collector."""
        started = self._clock.monotonic()
        await self._abandon(started - _ABANDON_AFTER_DEADLINES * deadline_s)
        for name, collector in self._collectors.items():
            if name not in self._running:
                self._running[name] = _Running(asyncio.create_task(_collect(collector, now)), started)
        await asyncio.wait({running.task for running in self._running.values()}, timeout=deadline_s)
        return self._take(deadline_s)

    async def close(self) -> None:
        """Cancel what still runs and close every collector."""
        await self._abandon(float("inf"))
        for collector in self._collectors.values():
            await collector.close()

    def _take(self, deadline_s: float) -> Collected:
        scrapes: list[Scrape] = []
        problems: list[str] = []
        for name, running in list(self._running.items()):
            if not running.task.done():
                problems.append(f"collector {name} did not answer within {deadline_s:g} s; its last values are aging")
                continue
            del self._running[name]
            if error := running.task.exception():
                problems.append(f"collector {name} failed: {type(error).__name__}: {error}")
            else:
                scrapes.extend(running.task.result())
        return Collected(scrapes=tuple(scrapes), problems=tuple(problems))

    async def _abandon(self, started_before: float) -> None:
        overdue = {
            name: running.task
            for name, running in self._running.items()
            if running.since < started_before and not running.task.done()
        }
        for name, task in overdue.items():
            task.cancel()
            del self._running[name]
        if overdue:
            await asyncio.wait(overdue.values(), timeout=_CANCEL_S)


async def _collect(collector: Collector, now: float) -> Sequence[Scrape]:
    return await collector.collect(now)
