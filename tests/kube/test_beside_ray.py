"""Our lever beside the writer of the same list: Ray's own autoscaler, on a real API server."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

import pytest

from controller.actuators.ray_cluster import RayClusterActuator
from controller.clients.kubernetes import FIELD_MANAGER
from controller.clock import SystemClock
from controller.domain.cluster import ClusterFound, GroupFound, LayerStep
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.election.alone import Alone
from controller.simulated_cloud.kube import Server
from controller.simulated_cloud.ray_autoscaler import WHO, RayClient
from tests.kubernetes_api import Cluster, worker_group

OURS = {"minReplicas", "maxReplicas"}


class Beside:
    """Ray's provider and our actuator on one RayCluster of two groups."""

    def __init__(self, cluster: Cluster, server: Server) -> None:
        provider = pytest.importorskip("ray.autoscaler.v2.instance_manager.cloud_providers.kuberay.cloud_provider")
        logging.getLogger(provider.__name__).setLevel(logging.CRITICAL)
        self.cluster = cluster
        self.ray = provider.KubeRayProvider(
            "chat-live", {"namespace": cluster.namespace}, None, RayClient(server, cluster.namespace)
        )
        self.ours = RayClusterActuator(client=cluster.client, ray=cluster.ray, clock=SystemClock(), leadership=Alone())

    async def group(self, name: str = "l4") -> dict[str, Any]:
        live = await self.cluster.client.get(self.cluster.ray.cluster_path("chat-live"))
        return next(one for one in live["spec"]["workerGroupSpecs"] if one["groupName"] == name)

    async def launch(self, count: int, name: str = "l4") -> None:
        await asyncio.to_thread(self.ray.launch, {name: count}, secrets.token_hex(4))

    async def terminate(self, worker: str) -> None:
        await asyncio.to_thread(self.ray.terminate, [worker], secrets.token_hex(4))

    async def set(self, least: int, most: int) -> OutcomeStatus:
        before = await self.group()
        found = GroupFound(name="l4", min_workers=before["minReplicas"], max_workers=before["maxReplicas"])
        step = LayerStep(
            layer=Layer.WORKER,
            name="l4",
            found=before["minReplicas"],
            wanted=least,
            up=True,
            detail="",
            most=most,
        )
        return (await self.ours.apply(step, ClusterFound(at=0.0, groups=(found,)))).status


@pytest.fixture
async def beside(cluster: Cluster) -> Beside:
    await cluster.ray_cluster(groups=(worker_group("other"), worker_group("l4", most=4)))
    return Beside(cluster, await Server.of_kubeconfig())


async def test_each_changes_only_its_own_fields(beside: Beside) -> None:
    for least, most in ((1, 4), (2, 6), (0, 6), (3, 3)):
        before = await beside.group()
        assert await beside.set(least, most) is OutcomeStatus.APPLIED
        after = await beside.group()
        assert {key for key in after if after[key] != before.get(key)} <= OURS

        before = await beside.group()
        await beside.launch(1)
        after = await beside.group()
        assert {key for key in after if after[key] != before.get(key)} <= {"replicas", "scaleStrategy"}
        assert (after["minReplicas"], after["maxReplicas"]) == (least, most)


async def test_a_raised_minimum_is_followed_by_rays_autoscaler_and_a_maximum_caps_it(beside: Beside) -> None:
    await beside.set(3, 4)
    await beside.launch(0)
    assert (await beside.group())["replicas"] == 3

    await beside.launch(5)
    assert (await beside.group())["replicas"] == 4
    assert "maxReplicas" in str(beside.ray.poll_errors()[0])


async def test_a_worker_that_ray_ends_stays_ended_while_we_write(beside: Beside, cluster: Cluster) -> None:
    await cluster.worker("w0")
    await cluster.worker("w1")
    await beside.launch(0)

    await asyncio.gather(beside.terminate("w0"), beside.set(1, 5))

    group = await beside.group()
    assert group["scaleStrategy"] == {"workersToDelete": ["w0"]}
    assert group["replicas"] == 1
    assert (group["minReplicas"], group["maxReplicas"]) == (1, 5)


async def test_writes_at_the_same_time_lose_nothing_of_either(beside: Beside) -> None:
    async def ours() -> list[OutcomeStatus]:
        return [await beside.set(least, 9) for least in (1, 2, 1, 2, 1, 2)]

    async def theirs() -> None:
        for _ in range(6):
            await beside.launch(1)

    await beside.set(0, 9)
    await beside.launch(2)

    statuses, _ = await asyncio.gather(ours(), theirs())

    group = await beside.group()
    assert set(statuses) == {OutcomeStatus.APPLIED}
    assert (group["minReplicas"], group["maxReplicas"]) == (2, 9)
    assert group["replicas"] == 2 + 6


async def test_what_we_wrote_is_under_our_name_and_the_status_never_is(beside: Beside, cluster: Cluster) -> None:
    await beside.set(2, 4)
    await beside.launch(1)

    live = await cluster.client.get(cluster.ray.cluster_path("chat-live"))
    by_manager: dict[str, list[Any]] = {}
    for entry in live["metadata"]["managedFields"]:
        by_manager.setdefault(entry["manager"], []).append(entry["fieldsV1"])
    assert WHO in by_manager
    assert all(set(fields) == {"f:spec"} for fields in by_manager[FIELD_MANAGER])
