"""What the loop does when a part of it, or its store, fails; and how it goes on after a restart."""

import asyncio
from pathlib import Path

import pytest

from controller.codec import load_record
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.scrape import SourceKind
from controller.domain.signals import Signal
from controller.ports import LoopEvent
from controller.store.sqlite import SqliteStore
from tests.scenarios.world import START, FixedPolicy, MemoryStore, World, chat, lowered, policy

FULL = "records.db: disk is full; free some space"
AT_ONCE = {"forecast": False, "downscale_delay_s": 0}


def falling(t_s: float) -> float:
    return 10.0 if t_s < 60 else 1.0


def rising(t_s: float) -> float:
    return 2.0 if t_s < 60 else 10.0


async def test_without_a_store_a_target_is_still_raised_and_the_record_is_in_the_log() -> None:
    world = World(rising, policy_source=FixedPolicy(policy(**AT_ONCE)), store=MemoryStore(problem=FULL))

    records = await world.run(90)

    raised = next(record for record in records if chat(record).decision.action is Action.SCALE_UP)
    logged = [load_record(line["record"]) for line in world.logged("record_not_stored") if line["tick"] == raised.tick]
    assert chat(raised).outcome.status is OutcomeStatus.APPLIED
    assert [chat(record).outcome.status for record in logged] == [OutcomeStatus.PENDING, OutcomeStatus.APPLIED]
    assert world.direct.applied == [3]


async def test_a_reading_is_as_old_as_the_other_sources_took_to_answer() -> None:
    """Readings were once aged from the beginning of the tick, before any of them was made: each was 0 s old."""
    world = World(lambda _: 2.0)
    world.deployment.slow = {SourceKind.HAPROXY: 0.3, SourceKind.SERVE: 0.5}

    record = (await world.run(60))[-1]

    ages = {health.kind: health.age_s for health in record.sources}
    assert ages == pytest.approx({SourceKind.RAY: 0.8, SourceKind.HAPROXY: 0.5, SourceKind.SERVE: 0.0})
    assert chat(record).snapshot.demand[Signal.DECODE_TOKENS].age_s == pytest.approx(0.8)


async def test_without_a_store_nothing_is_lowered_and_the_reason_is_said() -> None:
    store = MemoryStore()
    world = World(falling, policy_source=FixedPolicy(policy(**AT_ONCE)), store=store)
    await world.run(60)

    store.problem = FULL
    records = await world.run(60)

    refused = lowered(records)
    assert refused != []
    assert {record.outcome.status for record in refused} == {OutcomeStatus.REFUSED}
    assert all(FULL in record.outcome.detail for record in refused)
    assert all(any(FULL in sentence for sentence in record.degraded) for record in records)
    assert world.direct.applied == [3]
    assert LoopEvent.STORE_FAILED in world.events.noted


async def test_a_store_that_can_be_written_again_is_used_again_by_itself() -> None:
    store = MemoryStore()
    world = World(falling, policy_source=FixedPolicy(policy(**AT_ONCE)), store=store)
    await world.run(60)
    store.problem = FULL
    await world.run(60)

    store.problem = None
    records = await world.run(10)

    assert records[0].degraded == ()
    assert world.direct.applied == [3, 1]
    assert store.finished[-1].tick == records[-1].tick


async def test_a_record_is_written_before_anything_is_done_and_again_with_what_came_of_it() -> None:
    store = MemoryStore()
    world = World(lambda _: 10.0, policy_source=FixedPolicy(policy(**AT_ONCE)), store=store)

    await world.run(5)

    assert chat(store.begun[0]).outcome.status is OutcomeStatus.PENDING
    assert chat(store.finished[0]).outcome.status is OutcomeStatus.APPLIED
    assert store.begun[0].tick == store.finished[0].tick == 1


class Broken:
    """An exporter that breaks its promise until it is mended."""

    mended = False

    def export(self, _: object) -> None:
        if not self.mended:
            raise ZeroDivisionError


async def test_a_tick_that_fails_is_counted_and_logged_and_the_next_one_goes_on() -> None:
    broken = Broken()
    world = World(lambda _: 10.0, exporters=[broken])

    await world.run(5)
    broken.mended = True
    records = await world.run(10)

    assert world.events.noted.count(LoopEvent.TICK_FAILED) == 1
    (logged,) = world.logged("tick_failed")
    assert logged["tick"] == 1
    assert "ZeroDivisionError" in logged["exception"]
    assert [record.tick for record in records] == [2, 3]


class NeverAnswering:
    """An actuator that hangs."""

    async def apply(self, _: Decision) -> Outcome:
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        return await outcome


async def test_an_actuator_that_never_answers_fails_its_decision_and_the_loop_goes_on() -> None:
    world = World(lambda _: 10.0, actuator=NeverAnswering(), act_within_s=0.01)

    records = await world.run(10)

    assert [chat(record).outcome.status for record in records] == [OutcomeStatus.FAILED] * 2
    assert "no result within 0.01 s" in chat(records[0]).outcome.detail


async def test_every_step_is_timed() -> None:
    world = World(lambda _: 2.0)

    (record,) = await world.run(5)

    assert [name for name, _ in record.step_seconds] == [
        "policy",
        "collect",
        "observe",
        "learn",
        "forecast",
        "decide",
        "begin",
        "act",
        "finish",
    ]


async def test_a_restart_goes_on_where_the_last_process_stopped(tmp_path: Path) -> None:
    path = tmp_path / "foreserve.db"
    store = SqliteStore(path)
    first = World(rising, policy_source=FixedPolicy(policy(forecast=False)), store=store)
    before = (await first.run(75))[-1]
    store.close()

    reopened = SqliteStore(path)
    second = World(
        rising,
        policy_source=FixedPolicy(policy(forecast=False)),
        store=reopened,
        kept=reopened.load(),
        last_tick=reopened.last_tick(),
        deployment=first.deployment,
    )
    after = (await second.run(5))[0]
    reopened.close()

    assert after.tick == before.tick + 1
    assert [order.status.value for order in before.ledger] == ["pending"]
    assert [(order.ordered_at, order.to_replicas) for order in after.ledger] == [
        (order.ordered_at, order.to_replicas) for order in before.ledger
    ]
    assert after.conflicts == ()
    history = second.loop._perception.history(DeploymentId("chat", "LLMServer:tiny"), Signal.ONGOING_REQUESTS)
    assert history.start == START
    assert history.values[0] == 2.0
