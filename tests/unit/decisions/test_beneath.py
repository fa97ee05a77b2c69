"""What-if of a whole cluster: nodes, workers and what they cost, under another policy, and nothing is touched."""

from __future__ import annotations

import re

import pytest
from pydantic import TypeAdapter

from controller.decisions.beneath import Beneath
from controller.decisions.what_if import WhatIf, what_if
from controller.domain.layer import Layer
from controller.loop.thinking import Considered
from controller.policy.model import Policy
from controller.web.render import render
from controller.web.what_if import what_if_view
from tests.scenarios.cluster_world import ClusterWorld, cluster_of, cluster_policy, of
from tests.scenarios.simulated import CHAT

PRICED = ({"name": "l4", "price_per_hour": 2.0},)


def policy(**changes: object) -> Policy:
    return cluster_policy(CHAT, **{"pools": PRICED, **changes})


async def considered(seconds: float = 900, **changes: object) -> tuple[Considered, ClusterWorld]:
    world = ClusterWorld({CHAT: lambda at: 3.0 if at < 120 else 14.0}, policy=policy(**changes))
    await world.run(seconds)
    assert world.loop.considered is not None
    return world.loop.considered, world


def beneath(answer: WhatIf) -> Beneath:
    assert answer.beneath is not None
    return answer.beneath


def numbers(answer: WhatIf) -> dict[tuple[Layer, str], tuple[int | None, int | None]]:
    return {(one.layer, one.name): (one.before, one.after) for one in beneath(answer).layers}


@pytest.mark.parametrize("forecast", [False, True])
async def test_the_same_policy_gives_the_nodes_and_workers_that_were_planned_in_every_tick(forecast: bool) -> None:
    world = ClusterWorld({CHAT: lambda at: 3.0 if at < 120 else 14.0}, policy=policy(forecast=forecast))
    for _ in range(60):
        (record,) = await world.run(10)
        assert world.loop.considered is not None
        answer = what_if(world.loop.considered, world.policy)
        made = cluster_of(record).plan
        planned = {
            **{(Layer.NODE, one.pool): (one.nodes, one.nodes) for one in made.pools},
            **{(Layer.WORKER, one.group): (one.min_workers, one.min_workers) for one in made.groups},
        }
        assert numbers(answer) == planned
        assert beneath(answer).notes == ()
        assert answer.differences[0].after == answer.differences[0].before == of(record).decision


async def test_a_smaller_replica_needs_more_nodes_and_costs_more() -> None:
    given, world = await considered()
    before = len(world.cluster.writes)

    answer = what_if(given, policy(terms={CHAT: {"capacity": {"target_ongoing_requests": 2}}}))

    assert numbers(answer)[Layer.NODE, "l4"] == (4, 7)
    assert (beneath(answer).cost_before, beneath(answer).cost_after) == (8.0, 14.0)
    assert len(world.cluster.writes) == before


async def test_a_budget_leaves_replicas_without_a_place_and_says_so() -> None:
    given, _ = await considered(130)

    answer = what_if(given, policy(budget={"spend_per_hour": 4.0}))

    assert beneath(answer).cost_after == 4.0
    assert beneath(answer).unplaced_before == ()


async def test_another_pool_is_planned_with_and_one_that_does_not_exist_is_named() -> None:
    given, _ = await considered()

    answer = what_if(given, policy(pools=({"name": "l4-other", "price_per_hour": 1.0},)))

    assert set(numbers(answer)) == {(Layer.NODE, "l4"), (Layer.NODE, "l4-other"), (Layer.WORKER, "l4")}
    assert numbers(answer)[Layer.NODE, "l4"][1] is None


async def test_a_policy_without_a_cluster_says_that_nodes_stay() -> None:
    given, _ = await considered()
    alone = policy().model_copy(update={"cluster": None})

    answer = what_if(given, alone)

    assert beneath(answer).notes == ("the edited policy plans no nodes and workers: they would stay as they are",)
    assert numbers(answer)[Layer.NODE, "l4"] == (4, None)


async def test_pools_in_the_edit_alone_cannot_be_planned() -> None:
    given, world = await considered(100)

    answer = what_if(Considered(at=given.at, policy=given.policy, inputs=given.inputs, state=given.state), world.policy)

    assert beneath(answer).layers == ()
    assert beneath(answer).notes == ("no cluster was seen in the last tick, so nodes and workers are not planned",)


async def test_the_answer_is_json_and_on_the_page() -> None:
    given, world = await considered()
    answer = what_if(given, policy(terms={CHAT: {"capacity": {"target_ongoing_requests": 2}}}))

    assert TypeAdapter(WhatIf).dump_python(answer, mode="json")["beneath"]["layers"][0] == {
        "layer": "node",
        "name": "l4",
        "before": 4,
        "after": 7,
    }
    frame = {"record": world.records[-1], "active": "What if", "stalled": None, "live": True, "late_after": 30}
    said = " ".join(
        re.sub(r"<[^>]+>", " ", render("what_if.html", {**frame, **what_if_view("", answer=answer)})).split()
    )
    assert "Nodes and workers 8 an hour as it is · 14 an hour with the edit" in said
    assert "node pool l4 4 7 worker group l4 4" in said
