"""Nodes, workers and replicas follow one plan, through stock-outs, blindness, restarts and more than one controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from controller.domain.approval import ProposalStatus
from controller.domain.cluster import LayerStep
from controller.domain.lasting import Checkpoint
from controller.domain.layer import Layer
from controller.domain.placement import Obstacle
from controller.domain.plan import OutcomeStatus, Reason
from controller.domain.record import TickRecord
from controller.policy.model import Mode
from tests.scenarios.cluster_world import CODE, INTERVAL_S, ClusterWorld, cluster_of, cluster_policy, of
from tests.scenarios.ground import SimulatedPool
from tests.scenarios.simulated import CHAT
from tests.scenarios.world import START

QUIET, FULL = 3.0, 15.0
"""Requests in flight: for one replica, for four."""


def steady(load: float) -> Callable[[float], float]:
    return lambda _at: load


def ramp(begin: float = 60.0, end: float = 660.0, low: float = QUIET, high: float = FULL) -> Callable[[float], float]:
    """From one load to another, in a straight line."""
    return lambda at: low + (high - low) * min(1.0, max(0.0, (at - begin) / (end - begin)))


def jump(at_s: float, low: float = QUIET, high: float = FULL) -> Callable[[float], float]:
    return lambda at: high if at >= at_s else low


def pulse(begin: float, end: float, low: float = QUIET, high: float = FULL) -> Callable[[float], float]:
    return lambda at: high if begin <= at < end else low


def first_order(world: ClusterWorld, layer: Layer) -> float:
    """When a layer's capacity was first raised above what it began with."""
    raised = [at for at, step in world.cluster.writes if step.layer is layer and step.wanted > 1]
    return raised[0] - START


def lowered(records: list[TickRecord]) -> list[LayerStep]:
    """Every step that was to take nodes or workers away."""
    return [
        step
        for record in records
        for step in cluster_of(record).steps
        if step.layer is not Layer.REPLICA and step.wanted < step.found
    ]


async def test_a_ramp_orders_nodes_then_workers_then_replicas() -> None:
    world = ClusterWorld({CHAT: ramp()}, policy=cluster_policy(forecast=True))

    await world.scaled_out(within_s=1500)

    replicas = next(at - START for at, _, target in world.serve.applied if target > 1)
    assert first_order(world, Layer.NODE) < first_order(world, Layer.WORKER) <= replicas
    asked = [target for _, _, target in world.serve.applied]
    assert asked == sorted(asked)


@pytest.mark.parametrize("sections", [{}, {"budget": {"gpus": 8}}], ids=["no-budget", "within-the-budget"])
async def test_a_replica_starts_at_once_on_a_node_that_is_kept_for_what_is_foreseen(
    sections: dict[str, dict[str, int]],
) -> None:
    world = ClusterWorld({CHAT: ramp()}, policy=cluster_policy(forecast=True, **sections))

    started: list[TickRecord] = []
    while not started and len(world.records) < 150:
        started = [record for record in await world.run(INTERVAL_S) if of(record).decision.binding is Reason.NODE_READY]

    (record,) = started
    decision = of(record).decision
    assert decision.steps[-2].replicas < (decision.desired or 0)
    assert dict(cluster_of(record).plan.housed)[CHAT] == decision.desired


async def test_replicas_are_asked_for_only_when_they_have_a_place() -> None:
    world = ClusterWorld({CHAT: ramp()}, policy=cluster_policy(forecast=True))

    while world.deployment().running < 4:
        await world.run(INTERVAL_S)
        workers = sum(len(node.workers) for node in world.cluster.nodes)
        assert len(world.deployment().replicas) <= max(1, workers)

    waiting = [of(record).decision for record in world.records if of(record).decision.binding is Reason.NO_PLACE]
    assert waiting
    assert waiting[0].steps[-1].stage == "place"
    assert "wait for workers" in waiting[0].steps[-1].detail


async def test_nothing_is_ordered_twice() -> None:
    world = ClusterWorld({CHAT: jump(60)})

    await world.scaled_out()
    await world.run(200)

    assert world.cluster.created["l4"] == 3
    ordered = [one for record in world.records[-1:] for one in cluster_of(record).standings]
    assert sum(one.wanted for one in ordered if one.order.layer is Layer.NODE) == 3


async def test_a_stock_out_is_answered_from_the_next_pool_within_one_tick_while_others_go_on() -> None:
    pools = [SimulatedPool("first", stocked_out=True), SimulatedPool("second")]
    policy = cluster_policy(CHAT, CODE, pools=[{"name": "first", "order": 0}, {"name": "second", "order": 1}])
    world = ClusterWorld({CHAT: jump(60), CODE: jump(200)}, policy=policy, pools=pools)

    await world.scaled_out(name=CODE)

    asked_first = next(at for at, wanted in world.set_to(Layer.NODE, "first") if wanted > 2)
    refused = next(record for record in world.records if cluster_of(record).verdicts)
    asked_second = world.set_to(Layer.NODE, "second")[0][0]
    assert cluster_of(refused).verdicts[0].pool == "first"
    assert asked_second <= refused.at - START + INTERVAL_S
    assert refused.at - START - asked_first <= 2 * INTERVAL_S
    assert world.deployment(CHAT).running >= 4
    assert world.cluster.created == {"second": 6}


async def test_when_every_pool_is_stocked_out_the_record_says_what_stands_in_the_way() -> None:
    world = ClusterWorld({CHAT: jump(60)}, pools=[SimulatedPool("l4", stocked_out=True)])

    records = await world.run(200)

    unplaced = cluster_of(records[-1]).plan.unplaced[0]
    assert unplaced.obstacle is Obstacle.STOCKED_OUT
    assert "GCE_STOCKOUT" in of(records[-1]).decision.steps[-1].detail
    assert len(world.deployment().replicas) == 1


async def test_five_minutes_without_an_api_server_lower_nothing_and_pass() -> None:
    world = ClusterWorld({CHAT: pulse(0, 600)})
    await world.scaled_out(within_s=600)
    nodes, target = len(world.cluster.nodes), len(world.deployment().replicas)

    world.cluster.unreachable = True
    blind = await world.run(300)
    world.cluster.unreachable = False
    seen_at = world.clock.now()
    await world.run(INTERVAL_S)

    assert not lowered(blind)
    assert all(cluster_of(record).plan.held for record in blind)
    assert any("API server" in problem for problem in blind[-1].degraded)
    assert len(world.cluster.nodes) == nodes
    assert target == 4
    await world.until(lambda: (len(world.deployment().replicas), len(world.cluster.nodes)) == (1, 1), 900)
    assert min(at for at, step in world.cluster.writes if step.wanted < step.found) >= seen_at


async def test_demand_that_goes_up_while_the_cluster_is_unknown_still_reaches_serve() -> None:
    world = ClusterWorld({CHAT: jump(60)})
    world.cluster.unreachable = True

    await world.run(200)

    assert len(world.deployment().replicas) == 4


async def test_a_budget_caps_nodes_and_says_so() -> None:
    policy = cluster_policy(budget={"gpus": 3})
    world = ClusterWorld({CHAT: jump(60)}, policy=policy)

    await world.scaled_out(3)
    records = await world.run(100)

    assert len(world.cluster.nodes) == 3
    assert len(world.deployment().replicas) == 3
    assert of(records[-1]).decision.binding is Reason.BUDGET


async def test_the_last_node_goes_to_the_deployment_with_the_higher_priority() -> None:
    policy = cluster_policy(
        CHAT, CODE, pools=[{"name": "l4", "bounds": {"max_nodes": 3}}], terms={CODE: {"priority": 1}}
    )
    world = ClusterWorld({CHAT: jump(60, high=7), CODE: jump(60, high=7)}, policy=policy)

    await world.scaled_out(2, CODE)
    records = await world.run(100)

    assert (world.deployment(CHAT).running, world.deployment(CODE).running) == (1, 2)
    assert of(records[-1], CHAT).decision.binding is Reason.NO_PLACE
    (short,) = cluster_of(records[-1]).plan.unplaced
    assert (short.id, short.obstacle) == (CHAT, Obstacle.POOL_AT_MAX)


async def test_what_is_not_needed_goes_from_the_replica_to_the_node_and_no_busy_node_ever() -> None:
    world = ClusterWorld({CHAT: pulse(0, 500)})
    before = len(await world.run(500))
    assert len(world.cluster.nodes) == 4

    while (len(world.deployment().replicas), len(world.cluster.nodes)) != (1, 1):
        assert world.clock.now() - START < 1800
        busy = {node.name for node in world.cluster.nodes for worker in node.workers if world.cluster.used(worker)}
        await world.run(INTERVAL_S)
        target = cluster_of(world.records[-1]).plan.pools[0]
        assert not busy & set(target.releasable) or len(world.deployment().replicas) < len(busy)
        assert target.nodes >= target.in_use

    given_back = [step.layer for record in world.records[before:] for step in cluster_of(record).steps if not step.up]
    assert given_back.index(Layer.REPLICA) < given_back.index(Layer.WORKER)
    assert given_back.index(Layer.REPLICA) < given_back.index(Layer.NODE)


async def test_a_node_about_to_be_reclaimed_is_replaced_before_it_is_gone() -> None:
    world = ClusterWorld({CHAT: steady(FULL)}, nodes=1)
    await world.scaled_out()
    victim = next(node for node in world.cluster.nodes if node.workers and world.cluster.used(node.workers[0]))
    made = world.cluster.created["l4"]

    world.cluster.reclaim(victim)
    (record, *_) = await world.run(2 * INTERVAL_S)

    assert cluster_of(record).pools[0].draining == 1
    assert cluster_of(record).plan.pools[0].new == 1
    await world.run(60)
    assert world.cluster.created["l4"] == made + 1


async def test_to_zero_and_back_takes_the_nodes_along() -> None:
    terms = {
        CHAT: {
            "limits": {"min_replicas": 0, "max_replicas": 4},
            "scale_to_zero": {"after_idle_s": 60, "cold_start_promise_s": 900},
        }
    }
    world = ClusterWorld({CHAT: pulse(0, 300, low=0.0)}, policy=cluster_policy(CHAT, terms=terms))

    await world.until(lambda: (len(world.deployment().replicas), len(world.cluster.nodes)) == (0, 0), 1500)

    world.deployment().load = steady(QUIET)
    await world.scaled_out(1)


async def test_a_controller_killed_between_order_and_record_orders_nothing_twice() -> None:
    world = ClusterWorld({CHAT: jump(60)})
    await world.run(60)
    world.nodes.breaks = True
    await world.run(60)
    assert world.cluster.pools[0].wanted == 4

    world.nodes.breaks = False
    kept = Checkpoint(state=world.store.state)
    world.start_loop(kept, last_tick=world.loop._tick)
    await world.scaled_out()
    await world.run(200)

    assert world.cluster.created["l4"] == 3
    assert world.deployment().running == 4


async def test_advisory_mode_touches_no_layer_and_tells_what_it_would_do() -> None:
    world = ClusterWorld({CHAT: jump(100)}, policy=cluster_policy(mode=Mode.ADVISORY))

    records = await world.run(300)

    assert not world.cluster.writes
    assert not world.serve.applied
    assert any(step.layer is Layer.NODE and step.up for record in records for step in cluster_of(record).steps)
    told = {one.status for record in records for one in cluster_of(record).outcomes}
    assert told == {OutcomeStatus.ADVISED}


async def test_in_approve_mode_each_layer_waits_for_its_own_word_and_then_moves_once() -> None:
    world = ClusterWorld({CHAT: jump(60)}, policy=cluster_policy(mode=Mode.APPROVE))

    await world.run(300)
    assert not world.cluster.writes
    assert not world.serve.applied
    told = {(one.layer, one.status) for one in cluster_of(world.records[-1]).outcomes}
    assert (Layer.NODE, OutcomeStatus.AWAITING) in told

    answered: list[str] = []
    while world.deployment().running < 4:
        assert world.clock.now() - START < 2400
        for subject, name in world.asked().items():
            world.board.approve(name, by="ada")
            answered.append(subject)
        await world.run(INTERVAL_S)

    assert answered.index("node l4") < answered.index(str(CHAT))
    assert "worker l4" in answered[: answered.index(str(CHAT))]
    assert world.cluster.created["l4"] == 3
    applied = [one for one in world.board.proposals() if one.status is ProposalStatus.APPLIED]
    assert {one.subject for one in applied} == {"node l4", "worker l4", str(CHAT)}


async def test_a_no_to_nodes_orders_none_and_is_told() -> None:
    world = ClusterWorld({CHAT: jump(60)}, policy=cluster_policy(mode=Mode.APPROVE))
    await world.run(150)

    world.board.reject(world.asked()["node l4"], by="ada", note="too dear")
    records = await world.run(300)

    said = {one.detail for record in records for one in cluster_of(record).outcomes if one.layer is Layer.NODE}
    assert len(said) == 1
    assert "rejected by ada: too dear" in said.pop()
    assert not [step for _, step in world.cluster.writes if step.layer is Layer.NODE]
    assert world.cluster.created["l4"] == 0


@dataclass
class Lease:
    """Who leads, as a test says."""

    leads: bool = False
    term: int = 1

    @property
    def standing(self) -> str:
        return "this one" if self.leads else "the other one"

    def may_act(self) -> bool:
        return self.leads


async def test_without_the_lease_all_is_computed_and_nothing_done_until_it_is_taken_over() -> None:
    lease = Lease()
    world = ClusterWorld({CHAT: jump(100)}, leadership=lease)

    waiting = await world.run(300)
    assert not world.cluster.writes
    assert not world.serve.applied
    assert {one.status for record in waiting for one in cluster_of(record).outcomes} == {OutcomeStatus.STANDBY}
    assert not waiting[-1].conflicts

    lease.leads, lease.term = True, 2
    await world.scaled_out()
    assert world.records[-1].leading is not None
    assert world.records[-1].leading.leads


async def test_what_another_leader_sets_is_no_conflict_to_the_one_that_stands_by() -> None:
    lease = Lease()
    world = ClusterWorld({CHAT: steady(QUIET)}, leadership=lease)
    await world.run(100)

    world.deployment().set_target(3)
    records = await world.run(100)

    assert not any(record.conflicts for record in records)


async def test_a_replica_of_four_gpus_waits_for_a_whole_worker_among_fragments() -> None:
    policy = cluster_policy(CHAT, CODE, worker_gpus=4, pools=[{"name": "l4", "bounds": {"max_nodes": 2}}])
    whole = policy.model_dump(mode="json")
    whole["deployments"][1]["placement"]["tensor_parallel"] = 4
    world = ClusterWorld(
        {CHAT: steady(QUIET), CODE: steady(QUIET)},
        policy=type(policy).model_validate(whole, strict=False),
        pools=[SimulatedPool("l4", gpus=4, most=2)],
        worker_gpus=4,
        nodes=1,
    )
    world.deployment(CODE).gpus = 4
    world.deployment(CODE).set_target(0)
    world.deployment(CODE).set_target(1)

    await world.scaled_out(1, CODE)

    assert len(world.cluster.nodes) == 2


@pytest.mark.parametrize("layer", [Layer.NODE, Layer.WORKER])
async def test_a_lever_that_hangs_or_breaks_is_told_and_keeps_nothing_else_from_its_work(layer: Layer) -> None:
    world = ClusterWorld({CHAT: jump(100), CODE: steady(QUIET)}, nodes=6)
    lever = world.nodes if layer is Layer.NODE else world.workers
    lever.hangs = True

    records = await world.run(200)

    failed = [one for record in records for one in cluster_of(record).outcomes if one.layer is layer]
    assert {one.status for one in failed} == {OutcomeStatus.FAILED}
    assert "no result within" in failed[0].detail
    assert all(of(record, CODE).outcome.status is OutcomeStatus.NOTHING_TO_DO for record in records)
    assert len(records) == 20
