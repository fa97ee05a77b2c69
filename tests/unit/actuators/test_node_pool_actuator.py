"""Setting node pools against a stand-in of GKE's API: one operation at a time, followed, and never twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from controller.actuators.node_pools import NodePoolActuator
from controller.actuators.pool_operations import Pace, PoolOperations
from controller.clients.gke import GkeClient
from controller.collectors.node_pools import NodePoolReader
from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import Accelerator, NodePool, Provisioning, TotalBounds
from controller.policy.cluster import FloorOf
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.gke_api import CLUSTER, QUOTA, WAIT, Fault, GkeApi
from controller.simulated_cloud.pools import STOCKOUT, Pool

SPEED = 300.0


@dataclass
class Leading:
    leads: bool = True
    term: int = 1
    standing: str = "somebody else leads"

    def may_act(self) -> bool:
        return self.leads


@dataclass
class World:
    """One cluster and the actuator on it."""

    api: GkeApi
    client: GkeClient
    operations: PoolOperations
    actuator: NodePoolActuator
    leading: Leading

    async def found(self, *nodes: Node) -> ClusterFound:
        now = self.api.clock.now()
        pools = await NodePoolReader(client=self.client).read(now)
        return ClusterFound(at=now, pools=pools.pools, nodes=nodes)

    async def apply(self, pool: str, wanted: int, *, present: int = 0) -> LayerOutcome:
        return await self.actuator.apply(step(pool, wanted, present), await self.found())


def step(pool: str, wanted: int, present: int = 0) -> LayerStep:
    return LayerStep(layer=Layer.NODE, name=pool, found=present, wanted=wanted, up=wanted > present, detail="")


def policy_pool(name: str) -> NodePool | None:
    if name not in {"l4", "spot", "fixed"}:
        return None
    return NodePool(
        name=name,
        accelerator=Accelerator("nvidia-l4"),
        gpus_per_node=1,
        zones=("us-central1-a",),
        provisioning=Provisioning.ON_DEMAND,
        priority=1,
        bounds=TotalBounds(0, 8),
    )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    pools = [Pool(name="l4", total=(0, 8)), Pool(name="spot", total=(0, 8)), Pool(name="fixed")]
    clock = ScaledClock(speed=SPEED)
    async with GkeApi(clock, {pool.name: pool for pool in pools}) as api:
        client = GkeClient(cluster=CLUSTER, endpoint=api.base_url, anonymous=True, timeout_s=1.0, backoff_s=0.01)
        operations = PoolOperations(client=client, clock=clock, pace=Pace(), draw=lambda: 0.0)
        leading = Leading()
        actuator = NodePoolActuator(
            client=client,
            clock=clock,
            leadership=leading,
            pools=policy_pool,
            operations=operations,
            floor=FloorOf.PLAN,
            settle_s=60.0,
        )
        yield World(api, client, operations, actuator, leading)
        await actuator.close()
        await client.close()


async def test_bounds_are_raised_and_the_operation_is_followed_to_its_end(world: World) -> None:
    world.api.operation_s = 120.0

    outcome = await world.apply("l4", 3)

    assert (outcome.status, outcome.lever, outcome.attempts) == (OutcomeStatus.APPLIED, "pool_bounds", 1)
    assert "operation-1 is accepted and in flight" in outcome.detail
    assert world.operations.objection("spot") == "operation operation-1 on l4 is in flight"
    await world.api.idle()
    await world.operations.ended()
    again = await world.apply("l4", 3)
    assert again.status is OutcomeStatus.NOTHING_TO_DO
    assert len(world.api.writes) == 1


async def test_a_fast_operation_is_read_back(world: World) -> None:
    world.api.operation_s = 1.0

    outcome = await world.apply("l4", 3)

    assert (outcome.status, outcome.detail) == (OutcomeStatus.APPLIED, "3 to 8")


async def test_two_pools_at_once_are_one_operation_after_the_other(world: World) -> None:
    found = await world.found()

    outcomes = await asyncio.gather(
        *(world.actuator.apply(step(pool, 3), found) for pool in ("l4", "spot")),
    )

    assert sorted(outcome.status for outcome in outcomes) == [OutcomeStatus.APPLIED, OutcomeStatus.REFUSED]
    assert len(world.api.writes) == 1
    assert world.api.overlapping == 0


async def test_somebody_elses_operation_is_waited_for(world: World) -> None:
    world.api.start("spot", seconds=100_000)

    outcome = await world.apply("l4", 3)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])
    assert "operation-1 is in flight on the cluster" in outcome.detail


async def test_an_operation_that_began_after_the_plan_is_seen_before_the_write(world: World) -> None:
    found = await world.found()
    world.api.start("spot", seconds=100_000)

    outcome = await world.actuator.apply(step("l4", 3), found)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])


@pytest.mark.parametrize("status", [1, 4, 5, 6])
async def test_a_pool_that_is_not_running_is_not_touched(world: World, status: int) -> None:
    world.api.pools["l4"].status = status

    outcome = await world.apply("l4", 3)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])


@pytest.mark.parametrize("fault", [Fault(status=400, message=WAIT.format("o")), Fault(status=429, message=QUOTA)])
async def test_a_busy_cluster_is_asked_again_later_and_more_seldom_each_time(world: World, fault: Fault) -> None:
    world.api.fail(fault, containing="POST")
    waits = []
    for _ in range(6):
        outcome = await world.apply("l4", 3)
        assert outcome.status is OutcomeStatus.REFUSED
        before = len(world.api.writes)
        assert (await world.apply("l4", 3)).detail.startswith("waiting")
        assert len(world.api.writes) == before
        assert world.operations._busy is not None
        waits.append(world.operations._busy.seconds)
        world.operations._busy.until = 0.0

    assert waits == [30, 60, 120, 240, 300, 300]


async def test_what_gke_names_as_the_time_to_wait_is_waited(world: World) -> None:
    world.api.fail(Fault(status=429, message=QUOTA, headers={"Retry-After": "900"}), containing="POST")

    await world.apply("l4", 3)

    assert world.operations._busy is not None
    assert world.operations._busy.until > world.api.clock.monotonic() + 800


async def test_a_stocked_out_pool_waits_and_another_does_not(world: World) -> None:
    world.api.operation_s = 1.0
    world.api.fail_next_operation(1, STOCKOUT.format(pool="fixed", zone="us-central1-a"))

    refused = await world.apply("fixed", 2)
    again = await world.apply("fixed", 2)
    other = await world.apply("l4", 2)

    assert refused.status is OutcomeStatus.FAILED
    assert "enough resources" in refused.detail
    assert again.status is OutcomeStatus.REFUSED
    assert again.detail.startswith("waiting ")
    assert other.status is OutcomeStatus.APPLIED


async def test_a_write_whose_answer_is_lost_is_looked_for_and_not_sent_again(world: World) -> None:
    world.api.fail(Fault(drop=True, applied=True), containing="POST", times=1)

    outcome = await world.apply("l4", 3)

    assert (outcome.status, len(world.api.started), len(world.api.writes)) == (OutcomeStatus.APPLIED, 1, 1)


async def test_a_write_that_never_arrived_is_a_failure_and_the_next_plan_sends_it(world: World) -> None:
    world.api.fail(Fault(status=503), containing="POST", times=1)

    outcome = await world.apply("l4", 3)

    assert (outcome.status, len(world.api.started)) == (OutcomeStatus.FAILED, 0)
    assert (await world.apply("l4", 3)).status is OutcomeStatus.APPLIED


async def test_bounds_that_somebody_changed_since_the_plan_are_not_overwritten(world: World) -> None:
    found = await world.found()
    world.api.pools["l4"].total = (2, 5)

    outcome = await world.actuator.apply(step("l4", 3), found)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])
    assert "were 0 to 8 when the plan was made and are 2 to 5" in outcome.detail


async def test_somebody_who_sets_bounds_too_is_reported_and_not_fought(world: World) -> None:
    world.api.operation_s = 1.0
    await world.apply("l4", 3)
    world.api.pools["l4"].total = (0, 5)

    outcome = await world.apply("l4", 3)
    moved = await world.apply("l4", 4)

    assert outcome.status is OutcomeStatus.REFUSED
    assert "somebody else sets them" in outcome.detail
    assert moved.status is OutcomeStatus.APPLIED


async def test_the_size_of_a_pool_is_set_only_where_it_has_no_autoscaling(world: World) -> None:
    world.api.operation_s = 1.0

    outcome = await world.apply("fixed", 2)

    assert (outcome.status, outcome.lever) == (OutcomeStatus.APPLIED, "pool_size")
    assert world.api.writes[0][0].endswith("fixed:setSize")
    assert world.api.pools["fixed"].size == 2


async def test_a_pool_without_autoscaling_is_not_made_smaller_under_workers(world: World) -> None:
    node = Node(name="n1", pool="fixed", zone="a", gpus=1, state=NodeState.READY, since=0.0, foreign_gpus=1)

    outcome = await world.actuator.apply(step("fixed", 0, 1), await world.found(node))

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])


async def test_who_does_not_lead_writes_nothing(world: World) -> None:
    world.leading.leads = False

    outcome = await world.apply("l4", 3)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])
    assert "somebody else leads" in outcome.detail


@pytest.mark.parametrize(
    ("pool", "wanted", "saying"), [("l9", 1, "names no pool l9"), ("l4", 9, "allows at most 8 nodes")]
)
async def test_what_the_policy_does_not_allow_is_refused(world: World, pool: str, wanted: int, saying: str) -> None:
    outcome = await world.apply(pool, wanted)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])
    assert saying in outcome.detail


async def test_unknown_pools_are_left_alone(world: World) -> None:
    found = replace(await world.found(), pools=None)

    outcome = await world.actuator.apply(step("l4", 3), found)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.REFUSED, [])


async def test_an_api_that_is_gone_is_a_failure_of_this_step_only(world: World) -> None:
    found = await world.found()
    world.api.fail(Fault(drop=True))

    outcome = await world.actuator.apply(step("l4", 3), found)

    assert (outcome.status, world.api.writes) == (OutcomeStatus.FAILED, [])
