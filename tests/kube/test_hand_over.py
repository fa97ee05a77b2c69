"""What one leader leaves to the next, on a real API server."""

from __future__ import annotations

import base64
import os
from dataclasses import replace

import pytest

from controller.domain.override import OverrideAction
from controller.domain.plan import Order
from controller.domain.state import DeploymentMemory, PlannerState
from controller.errors import UnavailableError
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.copied import CopiedShelf
from controller.interventions.overrides import OverrideBoard, Request
from controller.interventions.words import SpokenWords
from controller.loop.leading import Succession
from controller.policy.model import Policy
from controller.store.hand_over import ConfigMapHandOver, HandOverError
from tests.clocks import VirtualClock
from tests.kubernetes_api import Cluster
from tests.planning import policy
from tests.records import CHAT, decision


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
    await first.publish(PlannerState(), {}, tick=1)
    await first.publish(STATE, {}, tick=2)

    left = await hand_over(cluster, Leader(2)).take()

    assert left is not None
    assert (left.state, left.term, left.tick) == (STATE, 1, 2)


def boards(clock: VirtualClock) -> SpokenWords:
    loaded = Policy.model_validate({"version": 1, "mode": "approve", "deployments": [policy()]})
    return SpokenWords(
        OverrideBoard(shelf=CopiedShelf(), clock=clock, policy=lambda: loaded),
        ApprovalBoard(shelf=CopiedShelf(), clock=clock, policy=lambda: loaded),
    )


async def test_a_leader_that_is_killed_leaves_what_people_said_to_it(cluster: Cluster) -> None:
    clock = VirtualClock(1000.0)
    killed, heir = boards(clock), boards(clock)
    pause = Request(action=OverrideAction.FREEZE, deployment=CHAT, for_s=600, owner="ada", reason="a launch")
    lasting = killed.overrides.begin(pause)
    word = killed.approvals.approve(killed.approvals.ask(decision(current=2, desired=5)).id, by="ada")
    forgotten = heir.overrides.begin(pause)
    first = Succession(Leader(1), hand_over(cluster, Leader(1)), killed)
    term, state = await first.begin(STATE)
    assert await first.leave(term, state, tick=7) is None

    _, taken = await Succession(Leader(2), hand_over(cluster, Leader(2)), heir).begin(PlannerState())

    assert taken == STATE
    assert heir.overrides.in_force(clock.now()) == (lasting,)
    assert lasting.id != forgotten.id
    assert heir.approvals.ask(decision(current=2, desired=5)) == word


async def test_a_word_between_two_ticks_outlasts_the_leader_that_it_was_said_to(cluster: Cluster) -> None:
    clock = VirtualClock(1000.0)
    killed, heir = boards(clock), boards(clock)
    pause = Request(action=OverrideAction.FREEZE, deployment=CHAT, for_s=600, owner="ada", reason="a launch")
    left = hand_over(cluster, Leader(1))
    first = Succession(Leader(1), left, killed)
    term, state = await first.begin(STATE)
    await left.leave_words(killed.told())  # too early: with which state?
    assert await hand_over(cluster, Leader(2)).take() is None
    assert await first.leave(term, state, tick=7) is None

    lasting = killed.overrides.begin(pause)
    await left.leave_words(killed.told())

    taken = await hand_over(cluster, Leader(2)).take()
    assert taken is not None
    assert (taken.state, taken.tick) == (STATE, 7)
    heir.heed(taken.words or {})
    assert heir.overrides.in_force(clock.now()) == (lasting,)


async def test_words_are_not_left_beside_a_state_that_may_be_too_old(cluster: Cluster) -> None:
    clock = VirtualClock(1000.0)
    killed = boards(clock)
    left = hand_over(cluster, Leader(1))
    await left.publish(PlannerState(), killed.told(), tick=1)
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/foreserve"
    found = await cluster.client.get(path)
    await cluster.client.delete(path, uid=found["metadata"]["uid"])
    with pytest.raises(UnavailableError):
        await left.publish(STATE, killed.told(), tick=2)

    killed.overrides.begin(
        Request(action=OverrideAction.FREEZE, deployment=CHAT, for_s=600, owner="ada", reason="a launch")
    )
    await left.leave_words(killed.told())

    assert await hand_over(cluster, Leader(2)).take() is None


async def test_what_an_older_version_left_keeps_the_words_that_are_known_here(cluster: Cluster) -> None:
    clock = VirtualClock(1000.0)
    heir = boards(clock)
    pause = Request(action=OverrideAction.FREEZE, deployment=CHAT, for_s=600, owner="ada", reason="a launch")
    kept = heir.overrides.begin(pause)
    await hand_over(cluster, Leader(1)).publish(STATE, {}, tick=1)
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/foreserve"
    await cluster.client.patch(path, [{"op": "remove", "path": "/binaryData/words"}])

    _, taken = await Succession(Leader(2), hand_over(cluster, Leader(2)), heir).begin(PlannerState())

    assert taken == STATE
    assert heir.overrides.in_force(clock.now()) == (kept,)


async def test_who_was_overtaken_writes_nothing_over_the_next_leaders_state(cluster: Cluster) -> None:
    first, second = hand_over(cluster, Leader(1)), hand_over(cluster, Leader(2))
    await first.take()
    await first.publish(STATE, {}, tick=1)
    await second.take()
    await second.publish(PlannerState(), {}, tick=1)

    with pytest.raises(HandOverError, match="was written by somebody else"):
        await first.publish(replace(STATE, ledger=()), {}, tick=2)
    with pytest.raises(HandOverError, match="the state is of term 2, and ours is 1"):
        await first.take()


async def test_nothing_is_written_without_the_lead_and_nothing_twice(cluster: Cluster) -> None:
    leader = Leader(1)
    one = hand_over(cluster, leader)
    await one.publish(STATE, {}, tick=1)
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/foreserve"
    version = (await cluster.client.get(path))["metadata"]["resourceVersion"]

    await one.publish(STATE, {}, tick=2)
    leader.leads = False
    with pytest.raises(HandOverError, match="does not lead"):
        await one.publish(PlannerState(), {}, tick=3)

    assert (await cluster.client.get(path))["metadata"]["resourceVersion"] == version


async def test_garbage_and_too_much_are_refused_with_what_to_do(cluster: Cluster) -> None:
    one = hand_over(cluster, Leader(1))
    many = tuple(
        (CHAT, DeploymentMemory(last_set_digest=base64.b64encode(os.urandom(30_000)).decode())) for _ in "x" * 40
    )
    with pytest.raises(HandOverError, match="a ConfigMap takes 900000"):
        await one.publish(PlannerState(deployments=many), {}, tick=1)

    await one.publish(STATE, {}, tick=1)
    path = f"/api/v1/namespaces/{cluster.namespace}/configmaps/foreserve"
    await cluster.client.patch(path, [{"op": "replace", "path": "/binaryData/state", "value": "AAAA"}])

    with pytest.raises(HandOverError, match=r"is not understood .* delete it to begin from"):
        await one.take()
