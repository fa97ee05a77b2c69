"""Leader election on a real API server."""

from __future__ import annotations

import asyncio
import random

import structlog

from controller.clock import SystemClock
from controller.election.elector import LeaseElector
from controller.election.terms import Rules
from tests.clocks import VirtualClock
from tests.kubernetes_api import Cluster, new_client

RULES = Rules(duration_s=30.0, renew_s=5.0, margin_s=12.0)


def elector(cluster: Cluster, me: str, clock: VirtualClock | SystemClock, rules: Rules = RULES) -> LeaseElector:
    return LeaseElector(
        client=cluster.client,
        namespace=cluster.namespace,
        name="foreserve",
        me=me,
        clock=clock,
        rng=random.Random(1),
        log=structlog.get_logger(),
        rules=rules,
    )


async def test_one_leads_and_another_takes_over_only_when_the_lease_has_run_out(cluster: Cluster) -> None:
    mine, theirs = VirtualClock(1_000.0), VirtualClock(500_000.0)
    first, second = elector(cluster, "first", mine), elector(cluster, "second", theirs)

    await first.attempt()
    await second.attempt()
    assert (first.may_act(), second.may_act()) == (True, False)
    assert second.standing == "first leads (term 1)"

    for clock in (mine, theirs):
        clock.advance(18.0)
    assert not first.may_act()
    assert first.standing == "led, and could not renew in time"
    await second.attempt()
    assert not second.may_act()

    theirs.advance(12.0)
    await second.attempt()
    assert second.may_act()
    assert second.term == 2
    await first.attempt()
    assert first.standing == "second leads (term 2)"


async def test_renewals_keep_the_lead_and_giving_it_up_hands_it_over_at_once(cluster: Cluster) -> None:
    clock = VirtualClock(1_000.0)
    first, second = elector(cluster, "first", clock), elector(cluster, "second", clock)
    await first.attempt()
    for _ in range(10):
        clock.advance(5.0)
        await first.attempt()
        await second.attempt()
    assert (first.may_act(), first.term, second.may_act()) == (True, 1, False)

    await first.release()
    assert not first.may_act()
    await second.attempt()

    assert second.may_act()
    assert second.term == 2


async def test_of_many_at_once_one_wins(cluster: Cluster) -> None:
    clock = VirtualClock(1_000.0)
    many = [elector(cluster, f"p{index}", clock) for index in range(8)]

    await asyncio.gather(*(one.attempt() for one in many))

    assert sum(one.may_act() for one in many) == 1


async def test_without_the_api_server_the_lead_ends_in_time_and_the_reason_is_said(cluster: Cluster) -> None:
    clock = VirtualClock(1_000.0)
    client = new_client(attempts=1)
    one = LeaseElector(
        client=client,
        namespace=cluster.namespace,
        name="foreserve",
        me="one",
        clock=clock,
        rng=random.Random(1),
        log=structlog.get_logger(),
        rules=RULES,
    )
    await one.attempt()
    opened = await client._open()
    opened.configuration.host = "https://127.0.0.1:1"

    clock.advance(17.0)
    await one.attempt()
    assert one.may_act()
    clock.advance(1.0)
    await one.attempt()

    assert not one.may_act()
    assert "cannot be reached" in one.standing
    await client.close()


async def test_it_runs_until_told_to_stop_and_then_leaves(cluster: Cluster) -> None:
    stop = asyncio.Event()
    quick = Rules(duration_s=4.0, renew_s=0.1, margin_s=1.0)
    one, two = (elector(cluster, me, SystemClock(), quick) for me in ("one", "two"))
    first = asyncio.create_task(one.run(stop))

    async def leads() -> bool:
        return one.may_act()

    await cluster.until(leads)
    stop.set()
    await first
    await two.attempt()

    assert not one.may_act()
    assert two.may_act()
