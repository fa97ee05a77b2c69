"""What one leader leaves to the next, on a real API server."""

from __future__ import annotations

import base64
import os
from dataclasses import replace

import pytest

from controller.domain.plan import Order
from controller.domain.state import DeploymentMemory, PlannerState
from controller.store.hand_over import ConfigMapHandOver, HandOverError
from tests.cluster import CHAT
from tests.kubernetes_api import Cluster


class Leader:
    """Leads in a term, for as long as it is told to."""

    def __init__(self, term: int) -> None:
        self.term = term
        self.leads = True
        self.standing = f"term {term}"

    def may_act(self) -> bool:
        return self.leads


STATE = PlannerState(
    deployments=((CHAT, DeploymentMemory(last_set=4, recommendations=((1.0, 4),))),),
    ledger=(Order(id=CHAT, ordered_at=1.0, from_replicas=2, to_replicas=4, deadline=90.0),),
)


def hand_over(cluster: Cluster, leader: Leader) -> ConfigMapHandOver:
    return ConfigMapHandOver(client=cluster.client, namespace=cluster.namespace, name="foreserve", leadership=leader)


async def test_the_next_leader_finds_what_the_last_one_ordered(cluster: Cluster) -> None:
    first = hand_over(cluster, Leader(1))
    assert await first.take() is None
    await first.publish(PlannerState(), tick=1)
    await first.publish(STATE, tick=2)

    left = await hand_over(cluster, Leader(2)).take()

    assert left is not None
    assert (left.state, left.term, left.tick) == (STATE, 1, 2)


async def test_who_was_overtaken_writes_nothing_over_the_next_leaders_state(cluster: Cluster) -> None:
    first, second = hand_over(cluster, Leader(1)), hand_over(cluster, Leader(2))
    await first.take()
    await first.publish(STATE, tick=1)
    await second.take()
    await second.publish(PlannerState(), tick=1)

    with pytest.raises(HandOverError, match="was written by somebody else"):
        await first.publish(replace(STATE, ledger=()), tick=2)
    with pytest.raises(HandOverError, match="the state is of term 2, and ours is 1"):
        await first.take()


async def test_nothing_is_written_without_the_lead_and_nothing_twice(cluster: Cluster) -> None:
    leader = Leader(1)
    one = hand_over(cluster, leader)
    await one.publish(STATE, tick=1)
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/foreserve"
    version = (await cluster.client.get(path))["metadata"]["resourceVersion"]

    await one.publish(STATE, tick=2)
    leader.leads = False
    with pytest.raises(HandOverError, match="does not lead"):
        await one.publish(PlannerState(), tick=3)

    assert (await cluster.client.get(path))["metadata"]["resourceVersion"] == version


async def test_garbage_and_too_much_are_refused_with_what_to_do(cluster: Cluster) -> None:
    one = hand_over(cluster, Leader(1))
    many = tuple(
        (CHAT, DeploymentMemory(last_set_digest=base64.b64encode(os.urandom(30_000)).decode())) for _ in "x" * 40
    )
    with pytest.raises(HandOverError, match="a ConfigMap takes 900000"):
        await one.publish(PlannerState(deployments=many), tick=1)

    await one.publish(STATE, tick=1)
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/foreserve"
    await cluster.client.patch(path, [{"op": "replace", "path": "/binaryData/state", "value": "AAAA"}])

    with pytest.raises(HandOverError, match=r"is not understood .* delete it to begin from"):
        await one.take()
