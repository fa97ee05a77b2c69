"""The controller is killed at every step of a tick that matters, and another one goes on from its store."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from controller.domain.plan import OutcomeStatus
from controller.domain.record import TickRecord
from controller.store.reader import StoreReader
from controller.store.sqlite import SqliteStore
from tests.chaos.invariants import within
from tests.chaos.mortal import KilledError, Life, MortalActuator, MortalExporter, MortalStore
from tests.clocks import VirtualClock
from tests.reliability import Report
from tests.scenarios.simulated import SimulatedActuator, SimulatedDeployment
from tests.scenarios.world import INTERVAL_S, START, FixedPolicy, World, policy

RISES_AT_S, FALLS_AT_S, ENDS_AT_S = 20, 60, 150
TARGETS = [3, 1]


def _load(t_s: float) -> float:
    return 12.0 if RISES_AT_S <= t_s < FALLS_AT_S else 1.0


class Fleet:
    """One deployment that outlives its controllers, and every target it was given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.deployment = SimulatedDeployment(VirtualClock(START), lambda at: _load(at - START), start_s=10)
        self.direct = SimulatedActuator(self.deployment)

    async def live(self, life: Life) -> list[TickRecord]:
        """Run a controller until the end of the episode, or of its life."""
        store = SqliteStore(self.path)
        world = World(
            _load,
            policy_source=FixedPolicy(policy(forecast=False, downscale_delay_s=10)),
            store=MortalStore(store, life),
            kept=store.load(),
            last_tick=store.last_tick(),
            deployment=self.deployment,
            actuator=MortalActuator(self.direct, life),
            exporters=[MortalExporter(life)],
        )
        try:
            while self.deployment.clock.now() < START + ENDS_AT_S:
                await world.run(INTERVAL_S)
        except KilledError:
            self.deployment.advance(INTERVAL_S)
        finally:
            store.close()
        return world.records


async def _calls(tmp_path: Path) -> list[str]:
    life = Life()
    fleet = Fleet(tmp_path / "whole.db")
    await fleet.live(life)
    assert fleet.direct.applied == TARGETS
    return life.calls


async def test_killed_at_any_step_nothing_is_done_twice_and_the_next_one_goes_on(
    tmp_path: Path, report: Report
) -> None:
    calls = await _calls(tmp_path)
    acting = [place for place, call in enumerate(calls) if call == "apply"]
    # The tick before, the tick itself, and the one after: later ones are like these.
    moments = [place for place in range(len(calls)) if any(-4 <= place - act <= 5 for act in acting)]
    repeated = 0

    for moment in moments:
        for after in (False, True):
            fleet = Fleet(tmp_path / f"{moment}-{after}.db")
            await fleet.live(Life(ends_at=moment, after=after))
            resumed = await fleet.live(Life())

            where = f"{'after' if after else 'before'} call {moment} ({calls[moment]})"
            assert len(fleet.deployment.replicas) == TARGETS[-1], where
            # A target is absolute: one that was set and not recorded may be set again, to the same number.
            distinct = [one for one, _ in groupby(fleet.direct.applied)]
            assert distinct == TARGETS, where
            repeated += len(fleet.direct.applied) - len(distinct)
            within(resumed, 1, 6)
            _whole(fleet.path, where)
            assert resumed[0].conflicts == (), f"{where}: took its own target for somebody else's"

    assert repeated == 0, "what was set before the end is seen, and not set again"
    report(
        f"controller killed before and after each of {len(moments)} steps around its actions, and restarted",
        "every tick has one record; no order twice; own targets recognised; the episode ends as it would have",
        f"{2 * len(moments)} deaths, targets {TARGETS} each time",
        "next tick",
    )


def _whole(path: Path, where: str) -> None:
    with StoreReader(path) as reader:
        records = reader.records(deployment=None, last=1000)
    ticks = [record.tick for record in records]
    assert ticks == sorted(set(ticks)), where
    pending = [
        record.tick for record in records for one in record.deployments if one.outcome.status is OutcomeStatus.PENDING
    ]
    assert len(pending) <= 1, f"{where}: only the tick of the end has no outcome"


@pytest.mark.parametrize("lost", ["begin", "finish"])
async def test_a_death_is_visible_in_the_record(tmp_path: Path, lost: str) -> None:
    """Killed between order and record: the order's record is there, marked as never finished."""
    calls = await _calls(tmp_path)
    acting = calls.index("apply")
    fleet = Fleet(tmp_path / f"{lost}.db")
    await fleet.live(Life(ends_at=acting, after=lost == "finish"))

    with StoreReader(fleet.path) as reader:
        (newest,) = reader.records(deployment=None, last=1)
    (deployment,) = newest.deployments
    assert deployment.outcome.status is OutcomeStatus.PENDING
    assert deployment.decision.desired == TARGETS[0]
