"""The whole controller on the simulated cloud, through its real observers and levers, on the real API server.

After every story: nothing that others own was written, nothing was ordered twice, one operation at a time.
"""

from __future__ import annotations

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.placement import Obstacle
from controller.domain.plan import OutcomeStatus, Reason
from controller.domain.pools import VerdictKind
from controller.simulated_cloud.cloud import Group, SimulatedCloud
from controller.simulated_cloud.gke_api import QUOTA, WAIT, Fault
from controller.simulated_cloud.pools import Pool
from controller.simulated_cloud.serve import App
from controller.simulated_cloud.signals import Load
from tests.cloud.controller import Controller, cluster_of, first, of, policy_of
from tests.cloud.manners import well_behaved
from tests.cloud.side_by_side import SideBySide
from tests.serve_rest import CHAT

pytestmark = [pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]
side_by_side = SideBySide(at_most=4)

QUIET, FULL = 3.0, 15.0
"""Requests in flight: for one replica, for four."""
CODE = DeploymentId("code", "LLMServer:coder")


def steady(load: float) -> Load:
    return lambda _at: load


def jump(at_s: float, low: float = QUIET, high: float = FULL) -> Load:
    return lambda at: high if at >= at_s else low


def ramp(begin: float, end: float, low: float = QUIET, high: float = FULL) -> Load:
    """From one load to another, in a straight line."""
    return lambda at: low + (high - low) * min(1.0, max(0.0, (at - begin) / (end - begin)))


def pulse(begin: float, end: float, low: float = QUIET, high: float = FULL) -> Load:
    return lambda at: high if begin <= at < end else low


async def begun(cloud: SimulatedCloud, *, pool: str = "l4", nodes: int = 1) -> None:
    """One replica of each application, on nodes that are there."""
    cloud.begin_with(pool, nodes)
    await cloud.deploy()
    for app in cloud.apps:
        cloud.rest.set_target(1, app.id)
    await cloud.until(lambda: all(cloud.serve.running(app.id) == 1 for app in cloud.apps), 1200.0)


@side_by_side
async def test_a_ramp_orders_nodes_before_workers_before_replicas_and_each_once() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        policy = policy_of(cloud, forecast=True)
        async with Controller(cloud, {CHAT: ramp(60, 900)}, policy=policy) as controller:
            records = await controller.until(lambda: cloud.serve.running() >= 4, 2700.0)

            replicas = next(record.at for record in records if (of(record, CHAT).decision.desired or 0) > 1)
            nodes, workers = first(records, Layer.NODE, "capacity_buffer"), first(records, Layer.WORKER, "ray_cluster")
            assert nodes < workers <= replicas
            assert not cloud.serve.lost
            well_behaved(cloud, controller, ordered=None)


@side_by_side
async def test_a_stock_out_is_answered_from_the_next_pool_within_a_tick_while_others_scale_on() -> None:
    pools = [
        Pool(name="first", total=(0, 8), stock={"us-central1-a": 0}),
        Pool(name="second", total=(0, 8)),
    ]
    apps = [App(), App(id=CODE)]
    async with SimulatedCloud(pools=pools, apps=apps) as cloud:
        await begun(cloud, pool="second", nodes=2)
        async with Controller(cloud, {CHAT: jump(60), CODE: jump(300, high=7.0)}) as controller:
            records = await controller.until(
                lambda: cloud.serve.running(CHAT) >= 4 and cloud.serve.running(CODE) >= 2, 2700.0
            )

            refused = next(record for record in records if cluster_of(record).verdicts)
            verdict = cluster_of(refused).verdicts[0]
            assert (verdict.pool, verdict.kind) == (cloud.pool("first").name, VerdictKind.STOCKED_OUT)
            asked = next(
                record.at
                for record in records
                for step in cluster_of(record).steps
                if step.name == cloud.pool("second").name and step.up
            )
            following = next(record.at for record in records if record.at > refused.at)
            assert asked <= following
            assert cloud.nodes("first") == 0
            well_behaved(cloud, controller, ordered={"second": 4})


@side_by_side
async def test_a_spot_node_reclaimed_mid_ramp_is_replaced() -> None:
    pools = [Pool(name="spot", total=(0, 8), provisioning="spot")]
    async with SimulatedCloud(pools=pools) as cloud:
        await begun(cloud, pool="spot")
        async with Controller(cloud, {CHAT: jump(60)}) as controller:
            await controller.until(lambda: cloud.serve.running() >= 2, 2000.0)
            victim = next(iter(cloud.machines.of(cloud.pool("spot").name)))
            await cloud.machines.reclaim(victim.name)

            await controller.until(lambda: cluster_of(controller.records[-1]).pools[0].draining == 1, 120.0)
            await controller.until(lambda: len(cloud.serve.lost) == 1, 300.0)
            await controller.until(lambda: cloud.serve.running() >= 4, 2000.0)

            assert victim.name not in cloud.machines.machines
            # The tick that sees the loss keeps a node warm and lets the worker come, which Ray asks for at once, for a
            # replica waits. Both ask for a node until the next tick; an autoscaler that looks just then orders two.
            well_behaved(cloud, controller, ordered={"spot": 4}, besides=1)


@side_by_side
async def test_a_busy_cluster_is_waited_for_and_keeps_nothing_else_waiting() -> None:
    pools = [Pool(name="fixed", accelerator="nvidia-a100"), Pool(name="l4", total=(0, 8))]
    groups = [Group("a100", accelerator="nvidia-a100"), Group()]
    apps = [App(accelerator="nvidia-a100"), App(id=CODE)]
    async with SimulatedCloud(pools=pools, groups=groups, apps=apps) as cloud:
        cloud.begin_with("fixed", 1)
        await begun(cloud)
        policy = policy_of(cloud)
        cloud.gke.fail(Fault(status=429, message=QUOTA), containing="POST", times=1)
        cloud.gke.fail(Fault(status=400, message=WAIT.format("operation-0")), containing="POST", times=1)
        loads = {CHAT: jump(60, high=7.0), CODE: jump(60, high=7.0)}
        async with Controller(cloud, loads, policy=policy) as controller:
            await controller.until(lambda: cloud.serve.running(CODE) >= 2, 2000.0)
            await controller.until(lambda: cloud.serve.running() >= 2, 2700.0)

            assert len([path for path, _ in cloud.gke.writes if path.endswith(":setSize")]) >= 3
            said = [
                outcome.detail
                for record in controller.records
                for outcome in cluster_of(record).outcomes
                if outcome.lever == "pool_size" and outcome.status is OutcomeStatus.REFUSED
            ]
            assert any("concurrent operations quota" in one for one in said)
            assert any("Please wait" in one for one in said)
            well_behaved(cloud, controller, ordered={"fixed": 1, "l4": 1})


@side_by_side
async def test_while_a_ray_service_is_upgraded_its_worker_groups_are_left_alone() -> None:
    pools = [Pool(name="l4", total=(0, 8), provision_s=(60.0, 60.0), boot_s=(60.0, 60.0))]
    async with SimulatedCloud(pools=pools) as cloud:
        await begun(cloud)
        first_cluster = cloud.active
        async with Controller(cloud, {CHAT: jump(120)}) as controller:
            await controller.run(60)
            path = f"/apis/ray.io/v1/namespaces/{cloud.world}/rayservices/chat"
            image = "/spec/rayClusterConfig/workerGroupSpecs/0/template/spec/containers/0/image"
            await cloud.kube.patch(path, [{"op": "replace", "path": image, "value": "rayproject/ray-llm:next"}])
            await cloud.until(lambda: len(cloud.operator.clusters_made) == 2, 60.0)
            await controller.until(lambda: cluster_of(controller.records[-1]).frozen is not None, 120.0)

            records = await controller.until(lambda: cloud.active != first_cluster, 1200.0)

            began, *_, ended = [record.at for record in records if cluster_of(record).frozen is not None]
            assert [
                write for write in cloud.proxy.writes if "/ray.io/" in write.path and began < write.at < ended
            ] == []
            assert len(cloud.operator.clusters_made) == 2
            await controller.until(lambda: cloud.serve.running() >= 4, 2000.0)
            assert len(cloud.operator.clusters_made) == 2


@side_by_side
async def test_what_somebody_sets_by_hand_is_planned_from_and_never_ordered_again() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        async with Controller(cloud, {CHAT: jump(60)}) as controller:
            await controller.until(lambda: cloud.pool("l4").size >= 4, 600.0)
            await cloud.set_group("l4", minReplicas=2, maxReplicas=2)

            await controller.until(lambda: cloud.serve.running() >= 4, 2700.0)

            # The worker that was asked for by hand waits beside the nodes that are kept warm, until the next tick.
            well_behaved(cloud, controller, ordered={"l4": 3}, besides=1)


@side_by_side
async def test_a_leader_that_dies_between_order_and_record_orders_nothing_again() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        async with Controller(cloud, {CHAT: jump(60)}) as dying:
            await dying.dies_after(lambda: any("capacitybuffers" in write.path for write in cloud.proxy.writes))
        kept = dying.as_recorded()
        assert not kept.state.supply.orders
        async with Controller(
            cloud, dying.loads, policy=dying.policy, traffic=dying.traffic, kept=kept, records=dying.records
        ) as next_one:
            await next_one.until(lambda: cloud.serve.running() >= 4, 2700.0)

            well_behaved(cloud, next_one, ordered={"l4": 3})


@side_by_side
async def test_five_minutes_without_an_api_server_lower_nothing_and_pass() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        # Not before: nodes that stand empty for ten minutes are removed.
        cloud.begin_with("l4", 3)
        async with Controller(cloud, {CHAT: pulse(0, 600)}) as controller:
            await controller.until(lambda: cloud.serve.running() >= 4, 900.0)
            await controller.run(max(0.0, 600 - (cloud.clock.now() - controller.began)))
            target, writes = cloud.rest.target(), len(cloud.proxy.writes)

            cloud.proxy.gone = True
            blind = await controller.run(300)
            cloud.proxy.gone = False

            assert all(cluster_of(record).plan.held for record in blind[1:])
            assert any("cannot be reached" in problem for problem in blind[-1].degraded), blind[-1].degraded
            assert len(cloud.proxy.writes) == writes
            assert cloud.rest.target() <= target
            await controller.until(lambda: cloud.nodes("l4") < 4, 2700.0)
            well_behaved(cloud, controller, ordered={})


@side_by_side
async def test_a_budget_caps_what_is_ordered_and_says_so() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        async with Controller(cloud, {CHAT: jump(60)}, policy=policy_of(cloud, budget={"gpus": 2})) as controller:
            records = await controller.until(lambda: cloud.serve.running() >= 2, 2000.0)
            await controller.run(120)

            assert cloud.pool("l4").size == 2
            (short,) = cluster_of(records[-1]).plan.unplaced
            assert short.obstacle is Obstacle.BUDGET
            well_behaved(cloud, controller, ordered={"l4": 1})


@side_by_side
async def test_the_last_node_goes_to_the_deployment_with_the_higher_priority() -> None:
    apps = [App(), App(id=CODE)]
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 3))], apps=apps) as cloud:
        await begun(cloud, nodes=2)
        policy = policy_of(cloud, terms={CODE: {"priority": 1}})
        loads = {CHAT: jump(60, high=7.0), CODE: jump(60, high=7.0)}
        async with Controller(cloud, loads, policy=policy) as controller:
            await controller.until(lambda: cloud.serve.running(CODE) >= 2, 2000.0)

            assert cloud.serve.running(CHAT) == 1
            assert cloud.pool("l4").size == 3
            assert of(controller.records[-1], CHAT).decision.binding is Reason.NO_PLACE
            well_behaved(cloud, controller, ordered={"l4": 1})


@side_by_side
async def test_to_zero_and_back_takes_the_node_along() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        terms = {
            CHAT: {
                "limits": {"min_replicas": 0, "max_replicas": 4},
                "scale_to_zero": {"after_idle_s": 60, "cold_start_promise_s": 900},
            }
        }
        policy = policy_of(cloud, terms=terms)
        back: list[float] = []
        load: Load = lambda at: 2.0 if at < 60 or back else 0.0  # noqa: E731
        async with Controller(cloud, {CHAT: load}, policy=policy) as controller:
            await controller.until(lambda: cloud.nodes("l4") == 0, 3600.0)
            assert cloud.rest.target() == 0

            back.append(cloud.clock.now())
            await controller.until(lambda: cloud.serve.running() == 1, 1500.0)

            well_behaved(cloud, controller, ordered={"l4": 1})


@side_by_side
async def test_four_gpus_together_are_found_though_six_are_free_in_pieces() -> None:
    pools = [Pool(name="l4", gpus=4, total=(0, 4))]
    groups = [Group("one", 1), Group("four", 4)]
    small = DeploymentId("small", "LLMServer:small")
    apps = [App(gpus=4), App(id=small, gpus=1)]
    async with SimulatedCloud(pools=pools, groups=groups, apps=apps) as cloud:
        cloud.begin_with("l4", 2)
        await cloud.deploy()
        await cloud.set_group("one", minReplicas=1)
        cloud.rest.set_target(1, small)
        cloud.rest.set_target(1)
        await cloud.until(lambda: cloud.serve.running() == 1 and cloud.serve.running(small) == 1, 900.0)
        cloud.begin_with("l4", 1)
        async with Controller(cloud, {CHAT: jump(60, high=11.0), small: steady(2.0)}) as controller:
            await controller.until(lambda: cloud.serve.running() >= 3, 2700.0)

            assert cloud.serve.running(small) == 1
            well_behaved(cloud, controller, ordered={"l4": 1})


@side_by_side
async def test_balloons_keep_nodes_where_there_are_no_buffers_and_give_way_to_workers() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 8))]) as cloud:
        await begun(cloud)
        async with Controller(cloud, {CHAT: jump(60)}, policy=policy_of(cloud, warm_capacity="balloon")) as controller:
            await controller.until(lambda: cloud.serve.running() >= 4, 2700.0)

            well_behaved(cloud, controller, ordered={"l4": 3})
