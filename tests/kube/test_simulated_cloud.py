"""The simulated cloud by itself: each link of the chain does what it does in reality, on the real API server."""

from __future__ import annotations

import pytest

from controller.simulated_cloud.cloud import Group, SimulatedCloud
from controller.simulated_cloud.pools import Pool
from controller.simulated_cloud.serve import App
from tests.cloud.ownership import owns
from tests.cloud.side_by_side import SideBySide

pytestmark = [pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]
side_by_side = SideBySide(at_most=4)


@side_by_side
async def test_a_serve_target_goes_down_the_whole_chain_and_back() -> None:
    """Serve target, Ray's autoscaler, pods, cluster autoscaler, nodes, images, replicas; nodes go when empty."""
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 4))], speed=60.0) as cloud:
        await cloud.deploy()
        began = cloud.clock.now()
        cloud.rest.set_target(2)

        await cloud.until(lambda: cloud.serve.running() == 2, 900.0)

        took = [at - began for at, _, _ in cloud.serve.became_ready]
        assert min(took) > 300 + 60 + 60
        assert cloud.nodes("l4") == 2
        cluster = await cloud.ray_cluster()
        assert cluster["spec"]["workerGroupSpecs"][0]["replicas"] == 2
        cloud.rest.set_target(0)
        await cloud.until(lambda: cloud.nodes("l4") == 0, 1500.0)
        assert len(cloud.autoscaler.ups) == 2


@side_by_side
async def test_a_stock_out_is_told_where_google_tells_it_and_backs_off() -> None:
    pool = Pool(name="l4", total=(0, 4), stock={"us-central1-a": 0})
    async with SimulatedCloud(pools=[pool], speed=60.0) as cloud:
        await cloud.deploy()
        cloud.rest.set_target(1)

        await cloud.until(lambda: len(cloud.machines.failures) == 2, 900.0)

        first, second = cloud.machines.failures
        assert second.at - first.at >= 300.0
        assert pool.conditions[0][0] == 1
        events = await cloud.kube.list(f"/api/v1/namespaces/{cloud.world}/events")
        texts = {event["reason"]: event["message"] for event in events if "Scale" in event["reason"]}
        assert "GCE out of resources" in texts["FailedScaleUp"]
        assert f"gke-serving-{pool.name}" in texts["TriggeredScaleUp"]
        await cloud.until(lambda: pool.size == 0, 60.0)  # at the autoscaler's next look
        pool.stock["us-central1-a"] = 1
        await cloud.until(lambda: cloud.serve.running() == 1, 2400.0)


@side_by_side
async def test_a_replica_over_four_gpus_waits_for_a_worker_with_four() -> None:
    pools = [Pool(name="four", gpus=4, total=(0, 2))]
    groups = [Group("one", 1), Group("four", 4)]
    async with SimulatedCloud(pools=pools, groups=groups, apps=[App(gpus=4)], speed=60.0) as cloud:
        await cloud.deploy()
        await cloud.set_group("one", minReplicas=2)
        await cloud.until(lambda: cloud.ready_workers("one") == 2, 900.0)
        cloud.rest.set_target(1)

        await cloud.until(lambda: cloud.serve.running() == 1, 1200.0)

        assert cloud.nodes("four") == 2


@side_by_side
async def test_each_part_writes_what_is_its_own() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 4))], speed=60.0) as cloud:
        await cloud.deploy()
        cloud.rest.set_target(1)
        await cloud.until(lambda: cloud.serve.running() == 1, 900.0)

        cluster = await cloud.ray_cluster()

        assert "spec.workerGroupSpecs" in owns(cluster, "ray-autoscaler") | owns(cluster, "kuberay-operator")
        assert cluster["spec"]["workerGroupSpecs"][0]["scaleStrategy"] == {}


@side_by_side
async def test_an_edit_that_needs_new_pods_starts_a_second_cluster_and_bounds_do_not() -> None:
    async with SimulatedCloud(pools=[Pool(name="l4", total=(0, 4))], speed=60.0) as cloud:
        await cloud.deploy()
        first = cloud.active
        path = f"/apis/ray.io/v1/namespaces/{cloud.world}/rayservices/chat"
        base = "/spec/rayClusterConfig/workerGroupSpecs/0"
        await cloud.kube.patch(path, [{"op": "replace", "path": f"{base}/maxReplicas", "value": 3}])
        steps = cloud.steps
        await cloud.until(lambda: cloud.steps > steps + 3, 60.0)
        assert cloud.operator.clusters_made == [first]

        image = f"{base}/template/spec/containers/0/image"
        await cloud.kube.patch(path, [{"op": "replace", "path": image, "value": "rayproject/ray-llm:next"}])

        await cloud.until(lambda: cloud.active != first, 900.0)
        assert len(cloud.operator.clusters_made) == 2


@side_by_side
async def test_a_reclaimed_spot_node_takes_its_replica_with_it_and_both_come_back() -> None:
    async with SimulatedCloud(pools=[Pool(name="spot", total=(0, 4), provisioning="spot")], speed=60.0) as cloud:
        await cloud.deploy()
        cloud.rest.set_target(1)
        await cloud.until(lambda: cloud.serve.running() == 1, 900.0)

        await cloud.machines.reclaim(cloud.machines.of(cloud.pool("spot").name)[0].name)

        await cloud.until(lambda: len(cloud.serve.lost) == 1, 300.0)
        await cloud.until(lambda: cloud.serve.running() == 1, 1200.0)
