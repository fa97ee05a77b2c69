"""Sources that fall silent or lie while the load falls: nothing is lowered, and all is well soon after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from controller.domain.record import TickRecord
from tests.chaos import lies
from tests.chaos.invariants import BrokenError, nothing_lowered, one_record_per_tick, recovery_s, within
from tests.reliability import Report
from tests.scenarios.world import FixedPolicy, World, chat, policy, targets

HOLDS = "nothing is lowered while it lasts, though the load falls; recovers within two ticks"

HOLD_IN_THE_DARK = ("controller.planner.stabilise._unseen", lambda _: None)
REPLICAS_UNSEEN = ("controller.window.observe.replica_blind_spots", lambda *_: ())
FRONT_DOOR_UNSEEN = ("controller.window.observe.front_door_blind_spots", lambda *_: ())
FUTURE = ("controller.loop.perception.believed_at", lambda scrape, _: scrape)


@dataclass(frozen=True)
class Fault:
    """``guard`` alone holds the line in it; None where several do."""

    who: str
    what: str
    distort: Callable[[], lies.Distort]
    guard: tuple[str, object] | None = None

    @property
    def name(self) -> str:
        return f"{self.who}: {self.what}"


def _says(distort: lies.Distort) -> Callable[[], lies.Distort]:
    return lambda: distort


_EVIDENT: dict[str, Callable[[], lies.Distort]] = {
    "silent": _says(lies.silent),
    "empty": _says(lies.empty),
    "cut in half": _says(lies.cut),
    "labels renamed": _says(lies.renamed),
    "NaN": _says(lies.not_a_number),
    "negative": _says(lies.negative),
    "infinite": _says(lies.infinite),
    "clock 10 min ahead": _says(lies.ten_minutes_ahead),
    "clock 10 min behind": _says(lies.ten_minutes_behind),
    "stale page repeated": lies.Frozen,
    "one replica missing": _says(lies.one_replica_missing),
}
_NO_SAMPLES = {"labels renamed", "NaN", "negative", "infinite", "one replica missing"}
"""Lies in samples, which Serve's answer has none of."""
_BY_AGE = {"silent", "clock 10 min behind", "stale page repeated"}


def _guard(who: str, what: str) -> tuple[str, object] | None:
    if who in ("all metrics", "every source", "Serve's REST API"):
        return None
    if what == "clock 10 min ahead":
        return FUTURE
    if what in _BY_AGE:
        return HOLD_IN_THE_DARK
    return REPLICAS_UNSEEN if who == "Ray's metrics agent" else FRONT_DOOR_UNSEEN


FAULTS = [
    Fault(who, what, distort, _guard(who, what))
    for who in lies.WHO
    for what, distort in _EVIDENT.items()
    if not (who == "Serve's REST API" and what in _NO_SAMPLES)
    and not (who == "HAProxy's metrics" and what == "one replica missing")
]
_IDS = [fault.name for fault in FAULTS]


def _load(t_s: float) -> float:
    """Three replicas' worth; from half a minute into the fault on, less than one's."""
    return 10.0 if t_s < 150 else 1.0


async def _lived_through(fault: Fault) -> tuple[Sequence[TickRecord], Sequence[TickRecord], float]:
    """Return the records while it lasted and after it, all invariants checked, and the time of recovery in seconds."""
    world = World(_load, policy_source=FixedPolicy(policy(forecast=False, downscale_delay_s=0)))
    await world.run(120)
    world.deployment.distort = lies.told_by(lies.WHO[fault.who], fault.distort())
    during = await world.run(120)
    world.deployment.distort = None
    after = await world.run(60)
    nothing_lowered(during)
    within(world.records, 1, 6)
    one_record_per_tick(world.records)
    return during, after, recovery_s(after)


def _said(record: TickRecord) -> str:
    """Why nothing was done."""
    seen = chat(record)
    told = [*seen.snapshot.blind_spots, *(step.detail for step in seen.decision.steps), str(seen.decision.binding)]
    return told[0]


@pytest.mark.parametrize("fault", FAULTS, ids=_IDS)
async def test_nothing_is_lowered_in_the_dark(fault: Fault, report: Report) -> None:
    during, after, recovery = await _lived_through(fault)

    assert targets(list(after))[-1] == 1, "once it sees again, the fallen load is followed"
    report(fault.name, HOLDS, f"held 3 replicas; says “{_said(during[-1])}”", f"{recovery:g} s")


@pytest.mark.parametrize(
    "fault", [fault for fault in FAULTS if fault.guard], ids=[fault.name for fault in FAULTS if fault.guard]
)
async def test_the_guard_is_what_holds(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault.guard is not None
    monkeypatch.setattr(*fault.guard)

    with pytest.raises(BrokenError, match="lowered from 3"):
        await _lived_through(fault)


@pytest.mark.parametrize("who", ["Ray's metrics agent", "HAProxy's metrics", "all metrics", "every source"])
async def test_lines_that_come_twice_change_nothing(who: str, report: Report) -> None:
    world = World(lambda _: 10.0, policy_source=FixedPolicy(policy(forecast=False, downscale_delay_s=0)))
    await world.run(120)
    world.deployment.distort = lies.told_by(lies.WHO[who], lies.twice)

    during = await world.run(60)

    assert targets(during) == [3]
    report(f"{who}: every line twice", "the target is what one line gives", "3 replicas throughout", "0 s")


@pytest.mark.parametrize("who", ["Ray's metrics agent", "HAProxy's metrics"])
async def test_a_source_that_counts_from_zero_again_is_outvoted(who: str, report: Report) -> None:
    world = World(lambda _: 10.0, policy_source=FixedPolicy(policy(forecast=False, downscale_delay_s=0)))
    await world.run(120)
    world.deployment.distort = lies.told_by(lies.WHO[who], lies.zeroed)
    during = await world.run(60)
    world.deployment.distort = None
    after = await world.run(60)

    nothing_lowered(during)
    report(
        f"{who}: all values 0", "the other source's demand counts", "3 replicas throughout", f"{recovery_s(after):g} s"
    )
