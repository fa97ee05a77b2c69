"""People, redeploys, broken files and broken disks get in the controller's way."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.plan import Action, OutcomeStatus
from controller.domain.serve import ServeState
from controller.policy.load import PolicyFile
from controller.ports import LoopEvent
from controller.store.sqlite import SqliteStore
from tests.chaos.invariants import acts, nothing_lowered, one_record_per_tick, recovery_s, within
from tests.reliability import Report
from tests.scenarios.world import FixedPolicy, MemoryStore, World, lowered, outcomes, policy, targets


def _world(load: Callable[[float], float], **given: object) -> World:
    return World(load, policy_source=FixedPolicy(policy(forecast=False, downscale_delay_s=0)), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [5, 2], ids=["up", "down"])
async def test_a_person_resizes(count: int, report: Report) -> None:
    world = _world(lambda _: 10.0)
    await world.run(60)

    world.deployment.set_target(count)
    during = await world.run(60)

    conflicts = [conflict for record in during for conflict in record.conflicts]
    assert [(one.found, one.cause) for one in conflicts] == [(count, "second_writer")]
    within(during, 1, 6)
    assert targets(during)[-1] == 3
    report(
        f"a person sets {count} replicas while 3 are needed",
        "reported once, not fought; what users need is raised at once, what is spare goes after the usual delay",
        f"one conflict; targets {targets(during)}",
        "next tick",
    )


@pytest.mark.parametrize("load", [0.0, 0.5, 500.0], ids=["none", "one request", "50 times"])
async def test_extreme_traffic(load: float, report: Report) -> None:
    world = _world(lambda t_s: 10.0 if t_s < 60 else load)
    await world.run(60)

    records = await world.run(240)

    within(records, 1, 6)
    one_record_per_tick(world.records)
    assert targets(records)[-1] == (6 if load > 10 else 1)
    report(
        f"traffic becomes {load / 10:g} times what it was",
        "limits hold; no needless step",
        f"targets {targets(records)}",
        "0 s",
    )


_LEVELS = "".join(f"- &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]\n" for level in range(1, 9))
_BOMB = f"version: 1\ndeployments:\n- &l0 [x]\n{_LEVELS}"
"""Nine to the eighth values once its aliases are followed."""

GARBAGE = {
    "empty": "",
    "binary": "\x00\x01\x02",
    "a list": "- 1\n- 2\n",
    "a bomb of aliases": _BOMB,
    "an unknown key": "version: 1\nrepliacs: 3\n",
    "limits upside down": "version: 1\ndeployments:\n- {application: chat, deployment: 'LLMServer:tiny', "
    "capacity: {target_ongoing_requests: 4}, limits: {min_replicas: 9, max_replicas: 2}}\n",
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_the_policy_becomes_garbage(name: str, tmp_path: Path, report: Report) -> None:
    path = tmp_path / "policy.yaml"
    good = (
        "version: 1\ncontrol: {interval_s: 5, window_s: 15, max_signal_age_s: 15}\ndeployments:\n"
        "- {application: chat, deployment: 'LLMServer:tiny', limits: {min_replicas: 1, max_replicas: 6}, "
        "capacity: {target_ongoing_requests: 4}, forecast: {enabled: false}, stabilisation: {downscale_delay_s: 0}}\n"
    )
    path.write_text(good, encoding="utf-8")
    world = World(lambda t_s: 10.0 if t_s < 60 else 18.0, policy_source=PolicyFile(path))
    await world.run(60)

    path.write_text(GARBAGE[name], encoding="utf-8")
    during = await world.run(60)
    path.write_text(good + "# mended\n", encoding="utf-8")
    after = await world.run(10)

    assert targets(during)[-1] == 5, "the last good policy goes on scaling"
    assert world.events.noted.count(LoopEvent.POLICY_REJECTED) == 1
    assert str(path) in during[-1].degraded[0]
    assert after[-1].degraded == ()
    report(
        f"the policy file becomes {name}",
        "the last good policy stays in force and scales on; the reason names the file and line",
        during[-1].degraded[0].replace(str(path), "policy.yaml").replace("|", "\\|").splitlines()[0],
        "next tick",
    )


async def test_the_disk_is_full(report: Report) -> None:
    store = MemoryStore()
    world = _world(lambda t_s: 10.0 if t_s < 60 else (1.0 if t_s < 120 else 18.0), store=store)
    await world.run(60)
    store.problem = "records.db: disk is full; free some space"
    falling = await world.run(60)
    rising = await world.run(40)
    store.problem = None
    after = await world.run(60)

    assert {OutcomeStatus.APPLIED} & outcomes(falling) == set()
    assert targets(rising)[-1] == 5
    assert after[-1].degraded == ()
    within(world.records, 1, 6)
    report(
        "the disk is full",
        "nothing is lowered unrecorded, raising goes on, records go to the log",
        f"refused to lower while it lasted; targets {targets(falling + rising)}",
        f"{recovery_s(after):g} s",
    )


@pytest.mark.parametrize("damage", ["overwritten", "cut", "emptied"])
async def test_the_store_is_damaged_between_two_lives(damage: str, tmp_path: Path, report: Report) -> None:
    path = tmp_path / "foreserve.db"
    first_store = SqliteStore(path)
    first = _world(lambda _: 10.0, store=first_store)
    await first.run(60)
    first_store.close()
    with closing(sqlite3.connect(path)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    path.write_bytes(
        {"overwritten": content[:4096] + b"\xff" * (len(content) - 4096), "cut": content[:5000], "emptied": b""}[damage]
    )

    store = SqliteStore(path)
    second = _world(
        lambda _: 10.0, store=store, deployment=first.deployment, kept=store.load(), last_tick=store.last_tick()
    )
    records = await second.run(60)
    store.close()

    nothing_lowered(records)
    assert targets(records) == [3]
    report(
        f"the store was {damage} while the controller was down",
        "it starts, keeps the damaged file aside, lowers nothing for lack of memory",
        "; ".join(notice.replace(str(tmp_path) + "/", "") for notice in store.notices) or "started afresh",
        f"{recovery_s(records):g} s",
    )


async def test_a_redeploy_resets_the_target(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    world = _world(lambda _: 10.0)
    await world.run(60)
    told = world.deployment.serve_state
    world.deployment.set_target(1)
    monkeypatch.setattr(world.deployment, "serve_state", lambda: _redeployed(told()))

    records = await world.run(30)

    assert acts(records)[0] == (Action.REASSERT, 3)
    assert [conflict.cause for record in records for conflict in record.conflicts] == ["redeploy"]
    assert lowered(records) == []
    report("a redeploy resets the target to 1", "the earlier target is set again at once", "re-asserted 3", "next tick")


def _redeployed(state: ServeState) -> ServeState:
    return replace(
        state,
        applications=tuple(
            replace(
                application,
                deployments=tuple(replace(one, config_digest="d2") for one in application.deployments),
            )
            for application in state.applications
        ),
    )
