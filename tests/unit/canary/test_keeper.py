"""The controller drives the policy's canaries: across restarts, beside other controllers, and only where it may act."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import structlog

from controller.canary.judge import Seen
from controller.canary.keeper import POLL_S, CanaryKeeper
from controller.canary.ramp import LEASE_S
from controller.domain.canary import CanaryPhase, CanaryRecord
from controller.export.canary_series import canary_gauges
from controller.policy.canary import CanaryPolicy
from controller.ports import StoreError
from tests.clocks import VirtualClock
from tests.unit.canary.test_canary import Told, seen

GOOD, BAD = seen(500), seen(500, failed=100)


@dataclass
class Texts:
    held: dict[tuple[str, str], bytes] = field(default_factory=dict)
    full: bool = False

    def put(self, kind: str, name: str, body: bytes) -> None:
        if self.full:
            msg = "disk full"
            raise StoreError(msg)
        self.held[kind, name] = body

    def drop(self, kind: str, name: str) -> None:
        self.held.pop((kind, name), None)

    def everything(self, kind: str) -> Sequence[bytes]:
        return [body for (of, _), body in sorted(self.held.items()) if of == kind]


def policy(build: str = "v2") -> CanaryPolicy:
    return CanaryPolicy.model_validate(
        {"name": "chat", "build": build, "split_url": "http://split", "token_file": "t", "hold_s": 10, "longest_s": 60}
    )


@dataclass
class World:
    """One splitter, one policy, and as many controllers as a test starts."""

    counts: Callable[[float], Seen] = lambda _: GOOD
    clock: VirtualClock = field(default_factory=VirtualClock)
    wanted: CanaryPolicy = field(default_factory=policy)

    def __post_init__(self) -> None:
        self.splitter = Told(self.clock, self._told)

    def _told(self, share: float) -> Seen:
        return self.counts(share)

    def controller(self, shelf: Texts, standby: Callable[[], str | None] = lambda: None) -> CanaryKeeper:
        return CanaryKeeper(
            clock=self.clock,
            canaries=lambda: (self.wanted,),
            splitter=lambda _: self.splitter,
            shelf=shelf,
            standby=standby,
            log=structlog.get_logger(),
        )

    async def go_on(self, keeper: CanaryKeeper, seconds: float) -> CanaryRecord:
        for _ in range(round(seconds / POLL_S)):
            await keeper.look()
            self.clock.advance(POLL_S)
        (record,) = keeper.records()
        return record


async def test_a_good_build_is_brought_in_and_stays() -> None:
    world = World()
    keeper = world.controller(Texts())

    record = await world.go_on(keeper, 60 + 2 * LEASE_S)

    assert record.progress.phase is CanaryPhase.COMPLETED
    assert world.splitter.shares == [0.01, 0.05, 0.25, 1.0]
    assert world.splitter.board.read()["share"] == 1.0


async def test_a_bad_build_goes_back_and_is_not_tried_again_until_there_is_another() -> None:
    world, shelf = World(counts=lambda share: BAD if share > 0.01 else GOOD), Texts()
    record = await world.go_on(world.controller(shelf), 60)
    after_a_restart = await world.go_on(world.controller(shelf), 60)

    assert record.progress.phase is after_a_restart.progress.phase is CanaryPhase.TAKEN_BACK
    assert "more requests fail" in record.progress.why
    assert world.splitter.shares == [0.01, 0.05, 0.0]

    world.counts, world.wanted = (lambda _: GOOD), policy("v3")
    begun = await world.go_on(world.controller(shelf), POLL_S)

    assert (begun.progress.build, begun.progress.phase) == ("v3", CanaryPhase.RAMPING)


async def test_a_restart_goes_on_where_it_was() -> None:
    world, shelf = World(), Texts()
    before = await world.go_on(world.controller(shelf), 16)

    after = await world.go_on(world.controller(shelf), POLL_S)

    assert before.progress.step == after.progress.step == 1
    assert before.progress.since == after.progress.since


async def test_another_controller_goes_on_where_the_first_one_was() -> None:
    world = World()
    before = await world.go_on(world.controller(Texts()), 16)

    after = await world.go_on(world.controller(Texts()), POLL_S)

    assert (after.progress.step, after.progress.since) == (before.progress.step, before.progress.since)


async def test_after_a_long_absence_the_share_is_0_and_it_begins_anew() -> None:
    world, shelf = World(), Texts()
    await world.go_on(world.controller(shelf), 30)
    world.clock.advance(LEASE_S)
    absent = world.splitter.board.read()["share"]

    record = await world.go_on(world.controller(shelf), POLL_S)

    assert absent == 0.0
    assert (record.progress.phase, record.progress.step) == (CanaryPhase.RAMPING, 0)


async def test_one_that_may_not_act_shows_and_does_nothing() -> None:
    world = World()

    record = await world.go_on(world.controller(Texts(), standby=lambda: "another one leads"), 30)

    assert record.progress.phase is CanaryPhase.WAITING
    assert record.progress.why == "another one leads"
    assert world.splitter.shares == []


async def test_an_unreachable_splitter_is_waited_for() -> None:
    world = World()
    world.splitter.broken = True
    keeper = world.controller(Texts())
    waiting = await world.go_on(keeper, 30)
    world.splitter.broken = False

    record = await world.go_on(keeper, POLL_S)

    assert (waiting.progress.phase, waiting.problem) == (CanaryPhase.WAITING, "gone")
    assert record.progress.phase is CanaryPhase.RAMPING


async def test_what_cannot_be_kept_goes_on_all_the_same() -> None:
    world = World()

    record = await world.go_on(world.controller(Texts(full=True)), 60)

    assert record.progress.phase is CanaryPhase.COMPLETED


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"steps": [0.5, 0.1]}, "rising shares"),
        ({"steps": [0.5, 1.5]}, "rising shares"),
        ({"longest_s": 5}, "longest_s"),
        ({"split_url": "split:8000"}, "http://"),
        ({"name": "Chat 2"}, "lower-case"),
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CanaryPolicy.model_validate(policy().model_dump() | more)


async def test_what_is_exported_of_a_canary() -> None:
    world = World()
    record = await world.go_on(world.controller(Texts()), POLL_S)

    shown = {(metric.name, *labels): value for metric, labels, value in canary_gauges(record)}

    assert shown["foreserve_canary_phase", "chat", "v2", "ramping"]
    assert not shown["foreserve_canary_phase", "chat", "v2", "taken_back"]
    assert shown["foreserve_canary_requests", "chat", "stable", "ok"] == 2000
    assert shown["foreserve_canary_first_byte_seconds", "chat", "canary"] == pytest.approx(0.1, rel=0.2)
