"""Carries events from finished ticks to their sinks, beside the loop and never in its way."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from structlog.typing import FilteringBoundLogger

from controller.catalog import exported
from controller.catalog.metric import Series
from controller.domain.event import Event, Topic
from controller.domain.record import TickRecord
from controller.policy.webhooks import SinkPolicy, WebhookPolicy
from controller.ports import Clock, Count, Leadership, StoreError
from controller.webhooks.news import Told, news, started, stopped
from controller.webhooks.outbox import Backlog, Delivery, Outbox, OutboxError
from controller.webhooks.rate import PerMinute
from controller.webhooks.sender import Delivered, GiveUp, Result, Sender, TryAgain

T = TypeVar("T")

Replay = Callable[[int], Sequence[TickRecord]]
"""Returns the stored records that follow a tick, oldest first. May raise StoreError."""

RESULTS = ("delivered", "failed", "dead")

_MOST_FRESH = 200
_OLDEST_S = 3600.0
"""What an earlier process left untold is told only while it is news."""
_WRITTEN_EVERY_TICKS = 100
_LOOK_S = 5.0
_REPEAT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full jitter: the next attempt after a time drawn from [0, min(most_s, base_s * 2 ** attempts)]."""

    base_s: float = 1.0
    most_s: float = 300.0

    def wait_s(self, attempts: int, draw: random.Random) -> float:
        """Return how long to wait after so many failed attempts."""
        return draw.uniform(0.0, min(self.most_s, self.base_s * 2.0 ** min(attempts, 30)))


@dataclass(slots=True)
class _Line:
    """One sink's task, and how it is woken."""

    sink: SinkPolicy
    source: str
    task: asyncio.Task[None]
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Courier:
    """Takes every finished record, writes what it tells to the outbox, and sends that to the sinks.

    Each sink has its own line, in order, at its own pace. Nothing here raises into the loop.
    """

    def __init__(
        self,
        *,
        outbox: Callable[[], Outbox],
        clock: Clock,
        policy: Callable[[], WebhookPolicy],
        replay: Replay,
        log: FilteringBoundLogger,
        count: Count,
        version: str,
        leadership: Leadership | None = None,
        backoff: Backoff | None = None,
        draw: random.Random | None = None,
    ) -> None:
        """``outbox`` opens the file; it is called once there is a sink. It may raise OutboxError.

        Of several controllers the one that leads tells.
        """
        self._open = outbox
        self._outbox: Outbox | None = None
        self._clock = clock
        self._policy = policy
        self._replay = replay
        self._log = log
        self._count = count
        self._version = version
        self._leadership = leadership
        self._backoff = backoff or Backoff()
        self._draw = draw or random.Random()  # noqa: S311 - jitter
        self._fresh: deque[TickRecord] = deque(maxlen=_MOST_FRESH)
        self._wake = asyncio.Event()
        self._lines: dict[str, _Line] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._told = Told()
        self._kept = Told()
        self._troubles: dict[str, str] = {}
        self._working = asyncio.Lock()
        # A thread of its own: a slow disk here must keep nobody else waiting.
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox")

    def export(self, record: TickRecord) -> None:
        """Take over one record."""
        if self._policy().out and not _is_onlookers(record):
            self._fresh.append(record)
            self._wake.set()

    def series(self) -> Iterator[Series]:
        """Yield what is left for each sink, as of the last look."""
        for sink in self._policy().out:
            left = self._backlogs.get(sink.name) or Backlog(sink.name, 0, 0, None)
            yield exported.WEBHOOK_PENDING, (sink.name,), left.pending
            yield exported.WEBHOOK_DEAD_LETTERS, (sink.name,), left.dead
            age_s = 0.0 if left.oldest_at is None else max(0.0, self._clock.now() - left.oldest_at)
            yield exported.WEBHOOK_OLDEST, (sink.name,), age_s

    async def sinks(self) -> list[dict[str, Any]]:
        """Return every sink of the policy with what is left for it."""
        if self._outbox is not None:
            await self._look()
        return [self._sink(sink) for sink in self._policy().out]

    async def dead(self) -> list[dict[str, Any]]:
        """Return the newest dead letters. Raises OutboxError."""
        found = [] if self._outbox is None else await self._aside(self._outbox.dead)
        return [letter(one) for one in found]

    async def retry(self, *, sink: str | None, event: str | None) -> int:
        """Let dead letters wait again; returns how many. Raises OutboxError."""
        if self._outbox is None:
            return 0
        changed = await self._aside(self._outbox.retry, sink=sink, event=event, now=self._clock.now())
        self._wake_lines()
        return changed

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                await self._work()
                await _within(_LOOK_S, self._wake)
                self._wake.clear()
        finally:
            await self._end_lines(list(self._lines))

    def _sink(self, sink: SinkPolicy) -> dict[str, Any]:
        left = self._backlogs.get(sink.name) or Backlog(sink.name, 0, 0, None)
        return {
            "name": sink.name,
            "kind": sink.kind.value,
            "events": [topic.value for topic in sink.events or Topic],
            "pending": left.pending,
            "dead": left.dead,
            "oldest_pending_at": left.oldest_at,
        }

    async def tell_stop(self, *, within_s: float) -> None:
        """Write that the controller stops, and give the sinks a moment to hear of it."""
        await self._work()
        if self._outbox is None or not self._leads():
            return
        await self._guarded("outbox", self._take_stop)
        self._wake_lines()
        until = self._clock.monotonic() + within_s
        while self._clock.monotonic() < until and any(left.pending for left in self._backlogs.values()):
            await asyncio.sleep(0.05)
            await self._guarded("outbox", self._look)

    def close(self) -> None:
        """Close the outbox."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._outbox is not None:
            self._outbox.close()

    async def _work(self) -> None:
        async with self._working:
            await self._work_once()

    async def _work_once(self) -> None:
        policy = self._policy()
        if policy.out and self._outbox is None and self._leads():
            await self._guarded("outbox", self._begin)
        if self._outbox is None:
            return
        await self._guarded("outbox", self._take_records)
        await self._arrange(policy)
        await self._guarded("outbox", self._look)

    def _leads(self) -> bool:
        return self._leadership is None or self._leadership.may_act()

    async def _aside(self, work: Callable[..., T], *given: Any, **named: Any) -> T:
        """Do something that may take long, beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *given, **named))

    async def _guarded(self, what: str, work: Callable[[], Any]) -> bool:
        """Do something that may fail, and say so once in the log until it works again."""
        try:
            await work()
        except (OutboxError, StoreError) as error:
            if self._troubles.get(what) != str(error):
                self._log.error("webhooks_failed", problem=str(error))
            self._troubles[what] = str(error)
            return False
        self._troubles.pop(what, None)
        return True

    async def _begin(self) -> None:
        opened = await self._aside(self._open)
        kept = await self._aside(opened.told)
        now = self._clock.now()
        self._told = self._kept = kept or Told(at=now)
        self._outbox = opened
        if now - self._told.at < _OLDEST_S:
            await self._catch_up()
        await self._keep(*started(self._told, now=now, version=self._version))

    async def _catch_up(self, before: float = float("inf")) -> None:
        """Tell what was recorded, up to a tick, and did not come to be told: by an earlier process, or in a rush."""
        while self._told.tick and (missed := await self._aside(self._replay, self._told.tick)):
            for record in missed:
                if record.tick >= before:
                    return
                await self._keep(*self._news(record))

    async def _take_records(self) -> None:
        while self._fresh:
            record = self._fresh[0]
            if record.tick > self._told.tick + 1 and record.at - self._told.at < _OLDEST_S:
                await self._catch_up(record.tick)
            await self._keep(*self._news(record))
            if self._fresh and self._fresh[0] is record:
                self._fresh.popleft()

    def _news(self, record: TickRecord) -> tuple[tuple[Event, ...], Told]:
        if _is_onlookers(record):
            return (), replace(self._told, tick=record.tick, at=record.at)
        return news(self._told, record)

    async def _take_stop(self) -> None:
        await self._keep(*stopped(self._told, now=self._clock.now()))
        await self._look()

    async def _keep(self, events: Sequence[Event], told: Told) -> None:
        """Write events with what is told; where nothing but the tick moved on, that need not be written."""
        sinks = self._policy().out
        addressed = [(event, _wanted_by(event, sinks)) for event in events]
        if events or _moved(self._kept, told):
            outbox = self._the_outbox()
            lost = await self._aside(outbox.take, addressed, told, now=self._clock.now())
            self._kept = told
            if lost:
                self._log.error("webhooks_overflowed", dead_letters=lost)
        self._told = told
        if events:
            self._wake_lines()

    async def _look(self) -> None:
        self._backlogs = await self._aside(self._the_outbox().backlogs)

    async def _arrange(self, policy: WebhookPolicy) -> None:
        """Have one line for each sink as it is in the policy now."""
        wanted = {sink.name: sink for sink in policy.out}
        ended = [
            name
            for name, line in self._lines.items()
            if line.task.done() or line.source != policy.source or wanted.get(name) != line.sink
        ]
        await self._end_lines(ended)
        for name in set(self._backlogs) - set(wanted):
            if await self._guarded(name, partial(self._aside, self._the_outbox().drop, name)):
                self._log.info("webhook_sink_gone", sink=name)
        for name, sink in wanted.items():
            if name not in self._lines:
                self._lines[name] = self._line(sink, policy.source)

    def _line(self, sink: SinkPolicy, source: str) -> _Line:
        for result in RESULTS:
            self._count(exported.WEBHOOK_DELIVERIES, sink.name, result, by=0)
        wake = asyncio.Event()
        return _Line(sink, source, asyncio.create_task(self._deliver(sink, source, wake)), wake)

    async def _end_lines(self, names: Sequence[str]) -> None:
        for name in names:
            task = self._lines.pop(name).task
            task.cancel()
            await asyncio.wait({task})
            # A bug in one line must not end the others.
            if not task.cancelled() and (error := task.exception()):
                self._log.error("webhook_line_failed", sink=name, problem=f"{type(error).__name__}: {error}")

    async def _deliver(self, sink: SinkPolicy, source: str, wake: asyncio.Event) -> None:
        outbox, sender, pace = self._the_outbox(), Sender(sink, source=source), PerMinute(sink.rate_per_minute)
        try:
            while True:
                wake.clear()
                try:
                    await self._deliver_next(outbox, sink, sender, pace, wake)
                except OutboxError as error:
                    self._log.error("webhooks_failed", sink=sink.name, problem=str(error))
                    await self._clock.sleep(_REPEAT_S)
        finally:
            await sender.close()

    async def _deliver_next(
        self, outbox: Outbox, sink: SinkPolicy, sender: Sender, pace: PerMinute, wake: asyncio.Event
    ) -> None:
        delivery = await self._aside(outbox.next, sink.name)
        now = self._clock.now()
        wait_s = _LOOK_S if delivery is None else max(delivery.next_at - now, pace.wait_s(now))
        if delivery is None or wait_s > 0:
            await _within(min(wait_s, _LOOK_S), wake)
            return
        pace.take(now)
        result = await sender.send(delivery.event, now=now)
        self._count(exported.WEBHOOK_DELIVERIES, sink.name, await self._settle(outbox, sink, delivery, result))
        await self._guarded("outbox", self._look)

    async def _settle(self, outbox: Outbox, sink: SinkPolicy, delivery: Delivery, result: Result) -> str:
        """Note what came of an attempt; returns it in one word."""
        now = self._clock.now()
        if isinstance(result, Delivered):
            await self._aside(outbox.delivered, delivery)
            return "delivered"
        self._log.warning("webhook_not_delivered", sink=sink.name, event_id=delivery.event.id, problem=result.why)
        too_old = now - delivery.event.at >= sink.give_up_after_s
        if isinstance(result, GiveUp) or (too_old and isinstance(result, TryAgain)):
            await self._aside(outbox.give_up, delivery, why=result.why)
            return "dead"
        wait_s = max(result.after_s, self._backoff.wait_s(delivery.attempts, self._draw))
        await self._aside(outbox.put_off, delivery, until=now + wait_s, why=result.why)
        return "failed"

    def _wake_lines(self) -> None:
        for line in self._lines.values():
            line.wake.set()

    def _the_outbox(self) -> Outbox:
        if self._outbox is None:
            msg = "the outbox is not open yet"
            raise OutboxError(msg)
        return self._outbox


def letter(one: Delivery) -> dict[str, Any]:
    """A delivery as JSON types."""
    return {
        "sink": one.sink,
        "event": one.event.id,
        "type": one.event.type,
        "at": one.event.at,
        "summary": one.event.summary,
        "attempts": one.attempts,
        "why": one.why,
    }


async def _within(seconds: float, wake: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()


def _is_onlookers(record: TickRecord) -> bool:
    """Whether another controller acted in that tick."""
    return record.leading is not None and not record.leading.leads


def _moved(kept: Told, told: Told) -> bool:
    same = (kept.on, kept.turning, kept.running) == (told.on, told.turning, told.running)
    return not same or told.tick - kept.tick >= _WRITTEN_EVERY_TICKS


def _wanted_by(event: Event, sinks: Sequence[SinkPolicy]) -> list[str]:
    return [sink.name for sink in sinks if not sink.events or event.topic in sink.events]
