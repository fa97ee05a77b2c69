"""The open loop: requests go out when they are due, whatever became of the ones before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from controller.load.row import DROPPED, RequestRow
from controller.load.schedule import Arrival
from controller.load.tick import LoadTick, Meter
from controller.ports import Clock

_TICK_S = 1.0
_LATE_BATCH = 16


class Sender(Protocol):
    """Sends one request and measures it."""

    async def send(self, arrival: Arrival, *, started: float, started_at: float) -> RequestRow:
        """Return what became of it. Never raises, not even when cancelled."""
        ...


class LoadGenerator:
    """Sends a schedule of requests in an open loop; run it once.

    ``on_row`` gets each request when it is over, ``on_tick`` the numbers of each second. With
    ``max_in_flight`` requests open the next ones are dropped and counted, never delayed.
    """

    def __init__(
        self,
        *,
        sender: Sender,
        meter: Meter,
        clock: Clock,
        on_row: Callable[[RequestRow], None],
        on_tick: Callable[[LoadTick], None],
        max_in_flight: int,
        drain_s: float = 10.0,
    ) -> None:
        self._sender = sender
        self._meter = meter
        self._clock = clock
        self._on_row = on_row
        self._on_tick = on_tick
        self._max_in_flight = max_in_flight
        self._drain_s = drain_s
        self._open: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()

    def stop(self) -> None:
        """Send no more and give open streams ``drain_s`` seconds; the second call gives them none."""
        if self._stopping.is_set():
            self._aborting.set()
        self._stopping.set()

    async def run(self, schedule: Iterable[Arrival]) -> None:
        """Send everything that is due, wait for what is open, and tick every second meanwhile."""
        started, started_at = self._clock.monotonic(), self._clock.now()
        ticking = asyncio.create_task(self._tick_every_second(started))
        ticking.add_done_callback(lambda _: self._stopping.set())
        try:
            await self._send_all(schedule, started, started_at)
            await self._drain()
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})
        if not ticking.cancelled():
            ticking.result()  # nobody hears the ticks any more: say why
        self._on_tick(self._meter.tick(self._clock.monotonic() - started))

    async def _send_all(self, schedule: Iterable[Arrival], started: float, started_at: float) -> None:
        pacing = asyncio.create_task(self._pace(schedule, started, started_at))
        await _first_of(pacing, self._stopping)
        if not pacing.done():
            pacing.cancel()
            await asyncio.wait({pacing})
        if not pacing.cancelled():
            pacing.result()

    async def _pace(self, schedule: Iterable[Arrival], started: float, started_at: float) -> None:
        for arrival in schedule:
            wait = started + arrival.at_s - self._clock.monotonic()
            if wait > 0:
                await self._clock.sleep(wait)
            elif arrival.index % _LATE_BATCH == 0:
                await self._clock.sleep(0)  # behind schedule: still let open streams be read
            self._send(arrival, started, started_at)

    def _send(self, arrival: Arrival, started: float, started_at: float) -> None:
        if self._meter.in_flight >= self._max_in_flight:
            self._meter.on_drop()
            self._on_row(_dropped(arrival, started_at))
            return
        self._meter.on_send()
        task = asyncio.create_task(self._request(arrival, started, started_at))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _request(self, arrival: Arrival, started: float, started_at: float) -> None:
        row = await self._sender.send(arrival, started=started, started_at=started_at)
        self._meter.on_end(row)
        self._on_row(row)

    async def _drain(self) -> None:
        """Wait for open streams: to their ends, or ``drain_s`` from the moment of a stop."""
        if self._open:
            await _first_of(asyncio.ensure_future(asyncio.wait(set(self._open))), self._stopping)
        if self._open:
            over = asyncio.ensure_future(asyncio.wait(set(self._open)))
            await _first_of(over, self._aborting, timeout_s=self._drain_s)
        left = set(self._open)
        for task in left:
            task.cancel()
        await asyncio.gather(*left)

    async def _tick_every_second(self, started: float) -> None:
        due = started
        while True:
            due += _TICK_S
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            self._on_tick(self._meter.tick(self._clock.monotonic() - started))


async def _first_of(work: asyncio.Future[Any], event: asyncio.Event, *, timeout_s: float | None = None) -> None:
    """Return when ``work`` is done, ``event`` is set, or time is up; ``work`` goes on."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({work, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _dropped(arrival: Arrival, started_at: float) -> RequestRow:
    return RequestRow(
        index=arrival.index,
        at=started_at + arrival.at_s,
        scheduled_s=arrival.at_s,
        prompt_tokens=arrival.prompt_tokens,
        output_tokens=arrival.output_tokens,
        status=DROPPED,
        detail="too many requests in flight",
    )
