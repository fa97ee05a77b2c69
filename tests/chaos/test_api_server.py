"""A real API server that refuses, fails, or answers into the void: what is left and who leads stays known."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import structlog

from controller.clients.kubernetes import KubernetesClient, Timing
from controller.clients.kubernetes_config import connection
from controller.clock import SystemClock
from controller.domain.plan import Order
from controller.domain.state import DeploymentMemory, PlannerState
from controller.election.elector import LeaseElector
from controller.election.terms import Rules
from controller.errors import UnavailableError
from controller.store.hand_over import ConfigMapHandOver
from tests.chaos.conftest import Report
from tests.clocks import VirtualClock
from tests.cloud.clock import ScaledClock
from tests.cloud.kube import Server
from tests.cloud.proxy import ApiProxy
from tests.kubernetes_api import HERE, available, fresh_namespace
from tests.records import CHAT

pytestmark = [pytest.mark.kube, pytest.mark.skipif(not available(), reason=HERE)]

RULES = Rules(duration_s=30.0, renew_s=5.0, margin_s=12.0)
STATE = PlannerState(
    deployments=((CHAT, DeploymentMemory(last_set=4, recommendations=((1.0, 4),))),),
    ledger=(Order(id=CHAT, ordered_at=1.0, from_replicas=2, to_replicas=4, deadline=90.0),),
)


@dataclass
class Behind:
    """A client whose every call passes the proxy."""

    proxy: ApiProxy
    client: KubernetesClient
    namespace: str

    def hand_over(self) -> ConfigMapHandOver:
        return ConfigMapHandOver(client=self.client, namespace=self.namespace, name="foreserve", leadership=_Leads())

    def elector(self, me: str, clock: VirtualClock) -> LeaseElector:
        return LeaseElector(
            client=self.client,
            namespace=self.namespace,
            name="foreserve",
            me=me,
            clock=clock,
            rng=random.Random(1),
            log=structlog.get_logger(),
            rules=RULES,
        )


class _Leads:
    term = 1
    standing = "term 1"

    def may_act(self) -> bool:
        return True


@pytest.fixture
async def behind() -> AsyncIterator[Behind]:
    admin = connection()
    async with fresh_namespace() as cluster, ApiProxy(Server.of_kubeconfig(), ScaledClock()) as proxy:

        async def load() -> Any:
            configuration = await admin.load()
            configuration.host = proxy.url
            return configuration

        timing = Timing(attempts=4, backoff_s=0.02)
        client = KubernetesClient(replace(admin, load=load), clock=SystemClock(), rng=random.Random(1), timing=timing)
        yield Behind(proxy, client, cluster.namespace)
        await client.close()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refusal_that_passes_is_outlasted(behind: Behind, status: int, report: Report) -> None:
    behind.proxy.refusals = [status, status, status]

    await behind.hand_over().publish(STATE, {}, tick=7)
    left = await behind.hand_over().take()

    assert left is not None
    assert (left.state, left.tick) == (STATE, 7)
    report(
        f"API server: {status} three times in a row", "the state is left for the next leader", "left whole", "same tick"
    )


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refusal_that_lasts_is_told_and_costs_nothing_that_was_left(
    behind: Behind, status: int, report: Report
) -> None:
    hand_over = behind.hand_over()
    await hand_over.publish(STATE, {}, tick=7)
    behind.proxy.always = status

    with pytest.raises(UnavailableError, match=str(status)) as refused:
        await hand_over.publish(PlannerState(), {}, tick=8)
    behind.proxy.always = None
    before = await behind.hand_over().take()
    await hand_over.publish(PlannerState(), {}, tick=9)
    after = await behind.hand_over().take()

    assert before is not None
    assert after is not None
    assert (before.state, before.tick, after.tick) == (STATE, 7, 9)
    said = str(refused.value).replace(behind.namespace, "NAMESPACE")
    report(
        f"API server: {status} for long",
        "it is told, nothing is lowered meanwhile, what was left stays",
        f"says “{said}”",
        "next tick",
    )


async def test_a_write_whose_answer_is_lost_is_done_once(behind: Behind, report: Report) -> None:
    hand_over = behind.hand_over()
    await hand_over.publish(PlannerState(), {}, tick=1)
    behind.proxy.lost = 1

    await hand_over.publish(STATE, {}, tick=2)
    left = await behind.hand_over().take()
    await hand_over.publish(PlannerState(), {}, tick=3)
    later = await behind.hand_over().take()

    assert left is not None
    assert later is not None
    assert (left.state, left.tick, later.tick) == (STATE, 2, 3)
    report("API server: a write's answer is lost", "what was written counts", "the state of that tick", "same tick")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_lease_that_cannot_be_renewed_ends_and_never_has_two_holders(
    behind: Behind, status: int, report: Report
) -> None:
    clock = VirtualClock(1_000.0)
    first, second = behind.elector("first", clock), behind.elector("second", clock)
    await first.attempt()
    await second.attempt()
    behind.proxy.always = status
    both, held_s = [], 0.0

    for _ in range(8):
        clock.advance(5.0)
        await first.attempt()
        await second.attempt()
        both.append(first.may_act() and second.may_act())
        held_s += 5.0 * first.may_act()
    behind.proxy.always = None
    await first.attempt()
    await second.attempt()

    assert held_s < RULES.duration_s
    assert not any(both)
    assert first.may_act() != second.may_act()
    report(
        f"API server: {status} to every renewal of the lease",
        "the lead ends before the lease does; nobody else leads meanwhile; never two",
        f"led on for {held_s:g} s of {RULES.duration_s:g} s",
        "next attempt",
    )
