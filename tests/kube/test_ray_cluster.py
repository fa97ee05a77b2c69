"""The lever of the worker layer, on a real API server with KubeRay's definitions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controller.actuators.ray_cluster import RayClusterActuator
from controller.clock import SystemClock
from controller.domain.cluster import ClusterFound, GroupFound, LayerStep
from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.plan import OutcomeStatus
from controller.domain.workers import Occupant, ReplicaState, Worker, WorkerState
from controller.election.alone import Alone
from tests.cluster import CHAT
from tests.kubernetes_api import Cluster, worker_group


def found(least: int = 0, most: int = 4, **changes: Any) -> ClusterFound:
    return ClusterFound(at=0.0, groups=(GroupFound(name="l4", min_workers=least, max_workers=most),), **changes)


def step(wanted: int, *, was: int = 0, most: int | None = None, name: str = "l4") -> LayerStep:
    return LayerStep(layer=Layer.WORKER, name=name, found=was, wanted=wanted, up=wanted > was, detail="", most=most)


def actuator(cluster: Cluster) -> RayClusterActuator:
    return RayClusterActuator(client=cluster.client, ray=cluster.ray, clock=SystemClock(), leadership=Alone())


async def live(cluster: Cluster, name: str = "chat-live") -> dict[str, Any]:
    return await cluster.client.get(cluster.ray.cluster_path(name))


async def service(cluster: Cluster) -> dict[str, Any]:
    return await cluster.client.get(cluster.ray.service_path("chat"))


def bounds(spec: dict[str, Any], index: int = 0) -> tuple[int, int]:
    group = spec["workerGroupSpecs"][index]
    return group["minReplicas"], group["maxReplicas"]


async def test_both_the_live_cluster_and_the_next_one_get_the_bounds_and_nothing_else(cluster: Cluster) -> None:
    before = await cluster.ray_cluster()
    await cluster.ray_service()

    outcome = await actuator(cluster).apply(step(2, most=6), found())

    assert outcome.status is OutcomeStatus.APPLIED, outcome
    after, at_service = await live(cluster), await service(cluster)
    assert bounds(after["spec"]) == (2, 6)
    assert bounds(at_service["spec"]["rayClusterConfig"]) == (2, 6)
    group = before["spec"]["workerGroupSpecs"][0]
    expected = {**before["spec"], "workerGroupSpecs": [group | {"minReplicas": 2, "maxReplicas": 6}]}
    assert after["spec"] == expected


async def test_what_is_so_already_is_not_written_again(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    await cluster.ray_service()
    lever = actuator(cluster)
    await lever.apply(step(2, most=6), found())
    version = (await live(cluster))["metadata"]["resourceVersion"]

    outcome = await lever.apply(step(2, most=6), found())

    assert outcome.status is OutcomeStatus.NOTHING_TO_DO
    assert outcome.attempts == 0
    assert (await live(cluster))["metadata"]["resourceVersion"] == version


async def test_bounds_that_somebody_changed_since_are_left_alone(cluster: Cluster) -> None:
    await cluster.ray_cluster(groups=(worker_group(least=3),))

    outcome = await actuator(cluster).apply(step(2), found(least=0))

    assert outcome.status is OutcomeStatus.REFUSED
    assert "3 to 4 now, not what the plan was made from" in outcome.detail
    assert bounds((await live(cluster))["spec"]) == (3, 4)


async def test_a_group_that_moved_in_the_list_is_still_the_one_that_is_set(cluster: Cluster) -> None:
    await cluster.ray_cluster(groups=(worker_group("other"), worker_group("l4")))
    await cluster.ray_service(groups=(worker_group("l4"), worker_group("other")))

    outcome = await actuator(cluster).apply(step(1), found())

    assert outcome.status is OutcomeStatus.APPLIED, outcome
    assert bounds((await live(cluster))["spec"], 1) == (1, 4)
    assert bounds((await live(cluster))["spec"], 0) == (0, 4)
    assert bounds((await service(cluster))["spec"]["rayClusterConfig"], 0) == (1, 4)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        pytest.param(
            {"conditions": [{"type": "UpgradeInProgress", "status": "True", "reason": "x", "message": "new image"}]},
            "UpgradeInProgress (new image)",
            id="upgrade",
        ),
        pytest.param({"pendingServiceStatus": {"rayClusterName": "chat-next"}}, "chat-next", id="pending"),
        pytest.param(
            {"conditions": [{"type": "Suspending", "status": "True", "reason": "x", "message": ""}]},
            "Suspending",
            id="suspending",
        ),
    ],
)
async def test_nothing_is_touched_while_the_service_changes_clusters(
    cluster: Cluster, status: dict[str, Any], says: str
) -> None:
    await cluster.ray_cluster()
    for condition in status.get("conditions", ()):
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    await cluster.ray_service(status=status)

    outcome = await actuator(cluster).apply(step(2), found())

    assert outcome.status is OutcomeStatus.REFUSED
    assert says in outcome.detail
    assert bounds((await live(cluster))["spec"]) == (0, 4)
    assert bounds((await service(cluster))["spec"]["rayClusterConfig"]) == (0, 4)


async def test_workers_with_replicas_are_never_stopped_by_an_upper_bound(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    replica = Occupant(replica="r", deployment=CHAT, gpus=1, state=ReplicaState.RUNNING)
    workers = tuple(
        Worker(name=f"w{index}", group="l4", gpus=1, state=WorkerState.READY, since=0.0, occupants=(replica,))
        for index in range(3)
    )
    node = Node(name="n", pool="p", zone="a", gpus=4, state=NodeState.READY, since=0.0, workers=workers)

    outcome = await actuator(cluster).apply(step(0, most=2), found(nodes=(node,)))

    assert outcome.status is OutcomeStatus.REFUSED
    assert "3 workers of l4 have replicas" in outcome.detail


async def test_two_writers_at_once_both_end_with_what_one_of_them_wanted(cluster: Cluster) -> None:
    await cluster.ray_cluster()

    outcomes = await asyncio.gather(*(actuator(cluster).apply(step(wanted), found()) for wanted in (1, 2, 3, 4)))

    reached = bounds((await live(cluster))["spec"])[0]
    applied = [outcome for outcome in outcomes if outcome.status is OutcomeStatus.APPLIED]
    assert len(applied) == 1
    assert f"→ {reached} to 4" in applied[0].detail
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.APPLIED, OutcomeStatus.REFUSED}


async def test_an_unknown_group_and_a_cluster_without_autoscaler_are_refused_with_what_to_do(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    unknown = await actuator(cluster).apply(step(1, name="h100"), found())
    path = cluster.ray.cluster_path("chat-live")
    await cluster.client.patch(path, [{"op": "replace", "path": "/spec/enableInTreeAutoscaling", "value": False}])
    unheeded = await actuator(cluster).apply(step(1), found())

    assert unknown.status is unheeded.status is OutcomeStatus.REFUSED
    assert "has no worker group h100; correct cluster.worker_groups" in unknown.detail
    assert "set enableInTreeAutoscaling" in unheeded.detail


async def test_without_a_ray_service_it_is_said_what_is_missing(cluster: Cluster) -> None:
    outcome = await actuator(cluster).apply(step(1), found())

    assert outcome.status is OutcomeStatus.FAILED
    assert "there is no RayService and no RayCluster" in outcome.detail
