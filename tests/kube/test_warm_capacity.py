"""Warm capacity on a real API server, whose real scheduler and controllers place and preempt its pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.actuators.warm_capacity import WarmCapacityActuator
from controller.clients.warm_capacity import WarmCapacityStore
from controller.clients.warm_objects import PRIORITY_CLASS, WARM_LABEL, name_of_pool
from controller.clock import SystemClock
from controller.collectors.cluster import KubernetesObserver
from controller.domain.cluster import ClusterFound, LayerStep, PoolFound
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import PoolStatus, VerdictKind
from controller.election.alone import Alone
from controller.policy.cluster import ClusterPolicy
from tests.kubernetes_api import Cluster, worker_group


def policy(cluster: Cluster, lever: str = "balloon", *, queued: bool = False) -> ClusterPolicy:
    return ClusterPolicy.model_validate(
        {
            "warm_capacity": lever,
            "worker_groups": [{"name": "l4", "accelerator": "nvidia-l4", "gpus_per_worker": 1, "max_workers": 8}],
            "node_pools": [
                {
                    "name": cluster.pool("gpu"),
                    "accelerator": "nvidia-l4",
                    "gpus_per_node": 2,
                    "zones": ["a"],
                    "bounds": {"max_nodes": 4},
                    **({"provisioning": "flex_start", "queued": True} if queued else {}),
                }
            ],
        }
    )


class World:
    """The lever and the observer of one cluster."""

    def __init__(self, cluster: Cluster, lever: str = "balloon", *, queued: bool = False) -> None:
        self.cluster = cluster
        self.queued = queued
        self.lever = lever
        clock = SystemClock()
        self.store = WarmCapacityStore(client=cluster.client, namespace=cluster.namespace, clock=clock)
        self.actuator = WarmCapacityActuator(
            store=self.store,
            ray=cluster.ray,
            policy=lambda: policy(cluster, self.lever, queued=self.queued),
            clock=clock,
            leadership=Alone(),
        )
        self.observer = KubernetesObserver(
            client=cluster.client,
            ray=cluster.ray,
            policy=lambda: policy(cluster, self.lever, queued=self.queued),
            warm=self.store,
        )

    async def found(self) -> ClusterFound:
        return await self.observer.observe(SystemClock().now())

    async def want(self, nodes: int) -> Any:
        step = LayerStep(layer=Layer.NODE, name=self.cluster.pool("gpu"), found=0, wanted=nodes, up=True, detail="")
        return await self.actuator.apply(step, await self.found())

    async def balloons(self) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self.cluster.namespace}/pods"
        return list((await self.cluster.client.list(path, labels=WARM_LABEL)).items)

    async def balloons_placed(self) -> list[str] | None:
        pods = [pod for pod in await self.balloons() if not pod["metadata"].get("deletionTimestamp")]
        return [pod["spec"]["nodeName"] for pod in pods] if all(pod["spec"].get("nodeName") for pod in pods) else None


async def priority_class(cluster: Cluster) -> None:
    body = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS},
        "value": -10,
    }
    if await cluster.client.find(f"/apis/scheduling.k8s.io/v1/priorityclasses/{PRIORITY_CLASS}") is None:
        await cluster.client.create("/apis/scheduling.k8s.io/v1/priorityclasses", body)


async def test_balloons_hold_the_nodes_that_no_worker_needs_and_give_way_to_the_first_that_does(
    cluster: Cluster,
) -> None:
    await priority_class(cluster)
    await cluster.ray_cluster(groups=(worker_group(),))
    for name in ("n0", "n1"):
        await cluster.node(name, pool="gpu", gpus=2)
    world = World(cluster)

    outcome = await world.want(2)

    assert outcome.status is OutcomeStatus.APPLIED, outcome
    assert outcome.lever == "balloon"
    placed = await cluster.until(world.balloons_placed)
    while len(placed) < 2:
        placed = await cluster.until(world.balloons_placed)
    assert sorted(placed) == [f"{cluster.namespace}-n0", f"{cluster.namespace}-n1"]
    found = await world.found()
    assert found.warm == ((cluster.pool("gpu"), 2),)
    assert all(node.free_gpus == 2 for node in found.nodes)

    await cluster.worker("w0")

    async def bound() -> Any:
        pod = await cluster.client.get(f"/api/v1/namespaces/{cluster.namespace}/pods/w0")
        return pod["spec"].get("nodeName")

    assert await cluster.until(bound) in placed
    again = await world.want(2)
    assert again.status is OutcomeStatus.APPLIED
    assert (await world.found()).warm == ((cluster.pool("gpu"), 1),)


async def test_what_is_given_up_asks_for_no_node_any_more_once_the_lever_says_so(cluster: Cluster) -> None:
    """Otherwise workers that take the nodes over push its pods away, and these are made again and ask for more."""
    await priority_class(cluster)
    await cluster.ray_cluster(groups=(worker_group(),))
    for name in ("n0", "n1"):
        await cluster.node(name, pool="gpu", gpus=2)
    world = World(cluster)
    await world.want(2)
    while len(await cluster.until(world.balloons_placed)) < 2:
        pass

    outcome = await world.want(0)

    assert outcome.status is OutcomeStatus.APPLIED
    assert outcome.detail.endswith("warm")
    assert [pod for pod in await world.balloons() if not pod["metadata"].get("deletionTimestamp")] == []


async def test_what_is_kept_already_is_not_written_again_and_nothing_is_made_for_nothing(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    world = World(cluster)

    assert (await world.want(0)).status is OutcomeStatus.NOTHING_TO_DO
    await world.want(3)
    again = await world.want(3)

    assert (again.status, again.attempts) == (OutcomeStatus.NOTHING_TO_DO, 0)
    assert (await world.found()).warm == ((cluster.pool("gpu"), 3),)


async def test_workers_that_wait_ask_for_nodes_themselves(cluster: Cluster) -> None:
    await cluster.ray_cluster(groups=(worker_group(least=3),))
    await cluster.worker("w0")

    await World(cluster).want(4)

    assert (await World(cluster).found()).warm == ((cluster.pool("gpu"), 2),)


async def test_a_buffer_is_chosen_where_the_cluster_has_them_and_a_change_of_mind_leaves_nothing_behind(
    cluster: Cluster,
) -> None:
    toleration = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    group = worker_group()
    group["template"]["spec"]["tolerations"] = [toleration]
    await cluster.ray_cluster(groups=(group,))
    world = World(cluster)
    await world.want(1)
    world.lever = "auto"

    outcome = await world.want(2)

    assert outcome.status is OutcomeStatus.APPLIED, outcome
    assert outcome.lever == "capacity_buffer"
    name = name_of_pool(cluster.pool("gpu"))
    buffers = f"/apis/autoscaling.x-k8s.io/v1beta1/namespaces/{cluster.namespace}/capacitybuffers"
    assert (await cluster.client.get(f"{buffers}/{name}"))["spec"] == {
        "podTemplateRef": {"name": name},
        "replicas": 2,
        "provisioningStrategy": "buffer.x-k8s.io/active-capacity",
    }
    template = await cluster.client.get(f"/api/v1/namespaces/{cluster.namespace}/podtemplates/{name}")
    assert toleration in template["template"]["spec"]["tolerations"]
    assert await cluster.client.find(f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{name}") is None
    world.lever = "off"
    await world.want(2)
    assert (await world.found()).warm == ()


@pytest.mark.parametrize("wanted", [5, 100])
async def test_more_than_the_policy_allows_is_refused(cluster: Cluster, wanted: int) -> None:
    await cluster.ray_cluster()

    outcome = await World(cluster).want(wanted)

    assert outcome.status is OutcomeStatus.REFUSED
    assert "at most 4 nodes" in outcome.detail


async def test_a_pool_that_nothing_adds_nodes_to_is_not_kept_warm(cluster: Cluster) -> None:
    """A balloon there would only wait, and its order would count as placed while the pool's size is not set."""
    world = World(cluster)
    await cluster.ray_cluster()
    name = cluster.pool("gpu")
    found = replace(
        await world.found(),
        pools=(PoolFound(name=name, status=PoolStatus.RUNNING, autoscaled=False, zones=("a",)),),
    )

    step = LayerStep(layer=Layer.NODE, name=name, found=0, wanted=2, up=True, detail="")
    outcome = await world.actuator.apply(step, found)

    assert outcome.status is OutcomeStatus.NOTHING_TO_DO
    assert await world.balloons() == []


async def test_a_deployment_of_that_name_that_somebody_else_made_is_left_alone(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    world = World(cluster)
    await world.want(1)
    path = f"/apis/apps/v1/namespaces/{cluster.namespace}/deployments/{name_of_pool(cluster.pool('gpu'))}"
    owner = "/metadata/labels/app.kubernetes.io~1managed-by"
    await cluster.client.patch(path, [{"op": "replace", "path": owner, "value": "somebody"}])

    outcome = await world.want(2)

    assert outcome.status is OutcomeStatus.REFUSED
    assert "was not made here" in outcome.detail
    assert (await cluster.client.get(path))["spec"]["replicas"] == 1


async def test_pods_that_cannot_be_made_are_told_as_a_problem(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    world = World(cluster)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "0"}},
    }
    await priority_class(cluster)
    await cluster.client.create(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas", quota)

    async def counted() -> Any:
        return (await cluster.client.get(f"/api/v1/namespaces/{cluster.namespace}/resourcequotas/none")).get("status")

    await cluster.until(counted)
    await world.want(1)

    async def told() -> Any:
        return [problem for problem in (await world.found()).problems if "warm capacity" in problem]

    assert "exceeded quota" in (await cluster.until(told))[0]


async def test_nodes_of_a_queued_pool_are_asked_for_once_and_withdrawn_when_nobody_needs_them(
    cluster: Cluster,
) -> None:
    await cluster.ray_cluster()
    world = World(cluster, queued=True)
    await cluster.node("n0", pool="gpu", gpus=2)

    first, again = await world.want(3), await world.want(3)

    assert (first.status, again.status) == (OutcomeStatus.APPLIED, OutcomeStatus.NOTHING_TO_DO)
    assert first.lever == "provisioning_request"
    [request] = await world.store.queued.read()
    assert (request.nodes, request.over) == (2, "")
    assert (await world.want(4)).status is OutcomeStatus.APPLIED
    assert [one.nodes for one in await world.store.queued.read()] == [2, 1]
    await world.want(3)
    assert [one.nodes for one in await world.store.queued.read()] == [2]
    await world.want(1)
    assert await world.store.queued.read() == ()


async def test_a_request_for_nodes_that_failed_is_a_refusal_of_its_pool(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    world = World(cluster, queued=True)
    await world.want(2)
    [request] = await world.store.queued.read()
    path = f"/apis/autoscaling.x-k8s.io/v1/namespaces/{cluster.namespace}/provisioningrequests/{request.name}"
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "OutOfResources",
        "message": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "lastTransitionTime": "2026-11-21T10:00:00Z",
    }
    await cluster.set_status(path, {"conditions": [condition]})

    found = await world.found()

    assert [(event.pool, event.kind) for event in found.events] == [(cluster.pool("gpu"), VerdictKind.STOCKED_OUT)]
    assert (await world.want(2)).status is OutcomeStatus.APPLIED
    assert [one.over for one in await world.store.queued.read()] == [""]
