"""From ticks to sinks over real HTTP: nothing lost, nothing twice beyond its key, nobody waits for anybody else."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from structlog.testing import CapturingLogger

from controller.catalog import exported
from controller.clock import SystemClock
from controller.domain.cluster_record import Leading
from controller.domain.record import TickRecord
from controller.policy.webhooks import WebhookPolicy
from controller.webhooks.courier import Backoff, Courier
from controller.webhooks.outbox import Outbox
from tests.records import deployment_record, record
from tests.webhooks import SinkServer, failing_half_the_time, sink, until

QUICK = Backoff(base_s=0.005, most_s=0.05)


@dataclass
class Station:
    """A courier with its outbox, and the store that it may look into."""

    path: Path
    policy: WebhookPolicy
    stored: list[TickRecord] = field(default_factory=list)
    counted: list[tuple[str, ...]] = field(default_factory=list)
    logger: CapturingLogger = field(default_factory=CapturingLogger)
    tick: int = 0

    def __post_init__(self) -> None:
        self.start = SystemClock().now()

    def replay(self, after: int) -> Sequence[TickRecord]:
        return [one for one in self.stored if one.tick > after][:50]

    def next_record(self) -> TickRecord:
        """A tick that set a target."""
        self.tick += 1
        made = record(deployment_record(), tick=self.tick, at=self.start + self.tick / 1000, ledger=())
        self.stored.append(made)
        return made

    def courier(self, **changes: Any) -> Courier:
        given: dict[str, Any] = {
            "outbox": lambda: Outbox(self.path),
            "clock": SystemClock(),
            "policy": lambda: self.policy,
            "replay": self.replay,
            "log": structlog.wrap_logger(self.logger, processors=[structlog.processors.KeyValueRenderer()]),
            "count": lambda metric, *labels, by=1: self.counted.extend([(metric.name, *labels)] * by),
            "version": "0.1.0",
            "backoff": QUICK,
            "draw": random.Random(1),
        }
        return Courier(**{**given, **changes})

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[Courier]:
        """A courier at work, until the block ends; it is then cut off, as by a crash."""
        courier = self.courier(**changes)
        task = asyncio.create_task(courier.run())
        try:
            yield courier
        finally:
            task.cancel()
            await asyncio.wait({task})
            courier.close()


def station(tmp_path: Path, *sinks: Any) -> Station:
    return Station(tmp_path / "s.outbox.db", WebhookPolicy(out=sinks))


def applied(server: SinkServer) -> list[str]:
    return [one.json["id"] for one in server.received if one.json["type"] == "io.foreserve.decision_applied.happened"]


async def test_every_event_arrives_once_in_order_where_nothing_fails(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url))
        async with here.running() as courier:
            for _ in range(20):
                courier.export(here.next_record())
            await until(lambda: len(here.counted) == 21)

    assert server.received[0].json["type"] == "io.foreserve.controller_up.happened"
    times = [one.json["time"] for one in server.received[1:]]
    assert times == sorted(times)
    assert set(server.ids.values()) == {1}
    assert here.counted == [(exported.WEBHOOK_DELIVERIES.name, "ops", "delivered")] * 21


async def test_a_sink_that_fails_half_the_time_loses_nothing_and_gets_nothing_twice_beyond_its_key(
    tmp_path: Path,
) -> None:
    taken: dict[str, int] = {}
    flaky = failing_half_the_time(7)

    def answer(one: Any) -> web.StreamResponse:
        response = flaky(one)
        if response.status == 204:
            taken[one.headers["webhook-id"]] = taken.get(one.headers["webhook-id"], 0) + 1
        return response

    async with SinkServer(answer) as server:
        here = station(tmp_path, sink(server.url))
        async with here.running() as courier:
            for _ in range(60):
                courier.export(here.next_record())
            await until(lambda: len(taken) == 61)
            await until(lambda: not any(left for _, _, left in courier.series()))

    assert set(taken.values()) == {1}
    assert len(server.received) > 90
    assert all(one.headers["idempotency-key"] == one.json["id"] for one in server.received)
    results = [result for _, _, result in here.counted]
    assert (results.count("delivered"), results.count("dead")) == (61, 0)
    assert results.count("failed") == len(server.received) - 61


async def test_what_a_sink_took_without_answering_comes_again_under_the_same_key(tmp_path: Path) -> None:
    async with SinkServer() as server:
        server.pause_s = 0.3
        here = station(tmp_path, sink(server.url, timeout_s=0.1))
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(server.received) >= 2)
            server.pause_s = 0
            await until(lambda: len(server.ids) == 2)

    assert max(server.ids.values()) >= 2


async def test_crashes_lose_nothing(tmp_path: Path) -> None:
    """Cut off again and again, also between a record and what is told of it."""
    async with SinkServer(failing_half_the_time(3)) as server:
        here = station(tmp_path, sink(server.url, events=["decision_applied"]))
        delivered: set[str] = set()
        server.answer = remembering(server.answer, delivered)
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(delivered) == 1)
        for lap in range(6):
            async with here.running() as courier:
                for _ in range(5):
                    made = here.next_record()
                    if lap % 2 == 0:  # Else it is in the store only: the process ended before it could be exported.
                        courier.export(made)
                await asyncio.sleep(0.02 * lap)
        async with here.running():
            await until(lambda: len(delivered) == 31)
            await asyncio.sleep(0.05)

    assert len(delivered) == 31


async def test_a_restart_tells_what_was_recorded_and_not_told_and_nothing_else(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url, events=["decision_applied"]))
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 1)
        untold = [here.next_record() for _ in range(3)]
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(set(applied(server))) == 5)
            await asyncio.sleep(0.05)

    # The one on its way when the first was cut off may come twice, under its one key.
    assert len(untold) == 3
    assert len(set(applied(server))) == 5
    assert len(applied(server)) <= 6


async def test_records_that_came_too_fast_are_read_from_the_store(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url, events=["decision_applied"]))
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 1)
            for _ in range(300):  # More than are held; the loop is not let go in between.
                courier.export(here.next_record())
            await until(lambda: len(set(applied(server))) == 301)


async def test_a_sink_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    async with SinkServer() as slow, SinkServer() as quick:
        slow.pause_s = 30
        here = station(tmp_path, sink(slow.url, name="slow", timeout_s=30), sink(quick.url, name="quick"))
        async with here.running() as courier:
            for _ in range(10):
                courier.export(here.next_record())
            await until(lambda: len(quick.received) == 11)

    assert len(slow.received) == 1


async def test_exporting_takes_no_time_however_bad_it_stands(tmp_path: Path) -> None:
    here = station(tmp_path, sink("http://127.0.0.1:1/"))
    courier = here.courier(outbox=lambda: pytest.fail("not here"))
    clock = SystemClock()

    began = clock.monotonic()
    for _ in range(1000):
        courier.export(here.next_record())

    assert clock.monotonic() - began < 1.0


async def test_what_is_hopeless_is_a_dead_letter_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with SinkServer() as server:
        refusals = iter([web.Response(status=410, text="gone")])
        server.answer = lambda _: next(refusals, None) or web.Response(status=204)
        here = station(tmp_path, sink(server.url))
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 2)
            await until(lambda: (exported.WEBHOOK_DELIVERIES.name, "ops", "delivered") in here.counted)
            (dead,) = await courier.dead()
            (state,) = await courier.sinks()
            assert await courier.retry(sink="ops", event=None) == 1
            await until(lambda: len(server.received) == 3)

    assert (dead["sink"], dead["type"], dead["why"]) == (
        "ops",
        "io.foreserve.controller_up.happened",
        "127.0.0.1 answered 410: gone",
    )
    assert (state["pending"], state["dead"]) == (0, 1)
    assert server.ids[dead["event"]] == 2


async def test_what_is_too_old_is_given_up(tmp_path: Path) -> None:
    async with SinkServer(lambda _: web.Response(status=500)) as server:
        here = station(tmp_path, sink(server.url, give_up_after_s=60, events=["decision_applied"]))
        here.start -= 100
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: (exported.WEBHOOK_DELIVERIES.name, "ops", "dead") in here.counted)

    assert len(server.received) == 1


async def test_no_more_than_so_many_a_minute(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url, rate_per_minute=5))
        async with here.running() as courier:
            for _ in range(20):
                courier.export(here.next_record())
            await until(lambda: len(server.received) == 5)
            await asyncio.sleep(0.2)
            (state,) = await courier.sinks()

    assert len(server.received) == 5
    assert state["pending"] == 16


async def test_a_sink_hears_of_its_topics_only(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url, events=["controller_up"]))
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 1)
            await asyncio.sleep(0.05)

    assert [one.json["type"] for one in server.received] == ["io.foreserve.controller_up.happened"]


async def test_a_changed_policy_changes_the_sinks_at_once(tmp_path: Path) -> None:
    async with SinkServer() as first, SinkServer() as second:
        here = station(tmp_path, sink(first.url))
        async with here.running() as courier:
            await until(lambda: len(first.received) == 1)
            here.policy = WebhookPolicy(out=(sink(second.url, name="other"),))
            courier.export(here.next_record())
            await until(lambda: len(second.received) == 1)

    assert len(first.received) == 1


async def test_of_several_controllers_the_one_that_leads_tells(tmp_path: Path) -> None:
    class Standing:
        leads, term, standing = False, 1, "pod-b leads"

        def may_act(self) -> bool:
            return self.leads

    def onlooking(here: Station) -> TickRecord:
        made = replace(here.next_record(), leading=Leading(leads=False, term=1, standing="pod-b leads"))
        here.stored[-1] = made
        return made

    async with SinkServer() as server:
        here, standing = station(tmp_path, sink(server.url)), Standing()
        async with here.running(leadership=standing) as courier:
            for _ in range(3):
                courier.export(onlooking(here))
            await asyncio.sleep(0.05)
            await courier.tell_stop(within_s=1)
            assert not here.path.exists()
            standing.leads = True
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 2)
            courier.export(onlooking(here))
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 3)

    assert [one.json["type"].split(".")[2] for one in server.received] == [
        "controller_up",
        "decision_applied",
        "decision_applied",
    ]


async def test_without_sinks_there_is_no_outbox(tmp_path: Path) -> None:
    here = station(tmp_path)
    async with here.running() as courier:
        courier.export(here.next_record())
        await asyncio.sleep(0.05)

    assert not here.path.exists()


async def test_stopping_in_order_is_told_before_the_end_and_starting_again_ends_it(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url, events=["controller_down"]))
        async with here.running() as courier:
            courier.export(here.next_record())
            await courier.tell_stop(within_s=5)
        async with here.running():
            await until(lambda: len(server.received) == 2)

    assert [one.json["type"] for one in server.received] == [
        "io.foreserve.controller_down.began",
        "io.foreserve.controller_down.ended",
    ]


async def test_a_stop_does_not_wait_for_a_sink_that_is_gone(tmp_path: Path) -> None:
    here = station(tmp_path, sink("http://127.0.0.1:1/"))
    clock = SystemClock()
    async with here.running() as courier:
        courier.export(here.next_record())
        began = clock.monotonic()
        await courier.tell_stop(within_s=0.2)

    assert clock.monotonic() - began < 5


async def test_an_outbox_that_cannot_be_used_is_said_once_and_tried_again(tmp_path: Path) -> None:
    async with SinkServer() as server:
        here = station(tmp_path, sink(server.url))
        here.path.write_bytes(b"not a database" * 100)
        async with here.running() as courier:
            for _ in range(3):
                courier.export(here.next_record())
                await asyncio.sleep(0.05)
            here.path.unlink()
            courier.export(here.next_record())
            await until(lambda: len(server.received) == 5)

    said = [call for call in here.logger.calls if "webhooks_failed" in str(call)]
    assert len(said) == 1


async def test_no_log_line_shows_an_address_or_a_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret")
    async with SinkServer(lambda _: web.Response(status=500)) as server:
        here = station(tmp_path, sink(f"{server.url}/t0ken", secret_file=str(tmp_path / "key")))
        async with here.running() as courier:
            courier.export(here.next_record())
            await until(lambda: len(server.received) > 3)

    log = str(here.logger.calls)
    assert "webhook_not_delivered" in log
    assert "t0ken" not in log
    assert "s3cret" not in log


def test_waits_grow_and_are_drawn_anew_up_to_a_bound() -> None:
    backoff, draw = Backoff(), random.Random(1)

    waits = [[backoff.wait_s(attempts, draw) for _ in range(200)] for attempts in (0, 3, 50)]

    assert [max(some) <= most for some, most in zip(waits, (1, 8, 300), strict=True)] == [True] * 3
    assert [max(some) > most / 2 for some, most in zip(waits, (1, 8, 300), strict=True)] == [True] * 3
    assert min(waits[2]) < 30


def remembering(
    answer: Callable[[Any], web.StreamResponse], delivered: set[str]
) -> Callable[[Any], web.StreamResponse]:
    def both(one: Any) -> web.StreamResponse:
        response = answer(one)
        if response.status == 204:
            delivered.add(one.headers["webhook-id"])
        return response

    return both
