"""What is read of a cluster on a real API server, with its real scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from controller.clients.kubernetes import Listing
from controller.clients.warm_capacity import WarmCapacityStore
from controller.clock import SystemClock
from controller.collectors.cluster import KubernetesObserver
from controller.domain.cluster import ClusterFound, PoolFound, PoolsFound
from controller.domain.nodes import NodeState
from controller.domain.pools import PoolStatus, VerdictKind
from controller.domain.supply import Refusal
from controller.domain.workers import WorkerState
from controller.policy.cluster import ClusterPolicy
from tests.kubernetes_api import Cluster, fresh_namespace, timestamp, worker_group


def policy(cluster: Cluster) -> ClusterPolicy:
    pool = {"accelerator": "nvidia-l4", "gpus_per_node": 2, "zones": ["a", "b"], "bounds": {"max_nodes": 4}}
    group = {"accelerator": "nvidia-l4", "gpus_per_worker": 1, "max_workers": 4}
    return ClusterPolicy.model_validate(
        {
            "worker_groups": [{"name": "l4", "node_pools": [cluster.pool("gpu")], **group}],
            "node_pools": [{"name": cluster.pool("gpu"), **pool}, {"name": cluster.pool("spot"), **pool}],
        }
    )


async def observe(cluster: Cluster, pools: PoolsFound | None = None) -> ClusterFound:
    class Cloud:
        async def read(self, _now: float) -> PoolsFound:
            return pools or PoolsFound()

        async def close(self) -> None:
            pass

    observer = KubernetesObserver(
        client=cluster.client,
        ray=cluster.ray,
        policy=lambda: policy(cluster),
        warm=WarmCapacityStore(client=cluster.client, namespace=cluster.namespace, clock=SystemClock()),
        pools=Cloud() if pools else None,
    )
    found = await observer.observe(SystemClock().now())
    await observer.close()
    return found


async def test_nodes_workers_and_groups_are_found_with_what_others_hold(cluster: Cluster) -> None:
    await cluster.ray_cluster(groups=(worker_group(least=1, most=3),))
    await cluster.ray_service()
    node = await cluster.node("n0", pool="gpu", gpus=2)
    name = node["metadata"]["name"]
    await cluster.worker("w0", nodeName=name)
    await cluster.pod("foreign", gpus=1, nodeName=name)
    await cluster.worker("w1", gpus=16)
    await cluster.worker("w2", cluster="chat-old", gpus=16)

    async def read() -> ClusterFound | None:
        found = await observe(cluster)
        pending = found.groups[0].pending if found.groups else ()
        # A scheduler that has not seen the node yet says that there is none.
        return found if pending and "nodes are available" in pending[0].detail else None

    found = await cluster.until(read)

    assert found.problems == ()
    assert found.frozen is None
    [only] = found.nodes
    assert (only.name, only.pool, only.zone, only.gpus) == (name, cluster.pool("gpu"), "a", 2)
    assert only.state is NodeState.READY
    assert only.foreign_gpus == 1
    assert [(worker.name, worker.group, worker.gpus, worker.state) for worker in only.workers] == [
        ("w0", "l4", 1, WorkerState.STARTING)
    ]
    [group] = found.groups
    assert (group.name, group.min_workers, group.max_workers, group.replicas) == ("l4", 1, 3, 1)
    assert [worker.name for worker in group.pending] == ["w1"]
    assert "nodes are available" in group.pending[0].detail


async def test_pods_of_others_are_read_on_nodes_of_the_pools_and_nowhere_else(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.ray_cluster()
    gpu = await cluster.node("n0", pool="gpu", gpus=4)
    elsewhere = await cluster.node("n1", pool="another", gpus=4)
    async with fresh_namespace() as others:
        await others.pod("foreign", gpus=3, nodeName=gpu["metadata"]["name"])
        for number in range(5):
            await others.pod(f"crowd{number}", gpus=0, nodeName=elsewhere["metadata"]["name"])
        read: list[str] = []
        listed = cluster.client.list

        async def counted(path: str, **selectors: Any) -> Listing:
            found = await listed(path, **selectors)
            read.extend(name for one in found.items if path.endswith("/pods") and (name := one["metadata"]["name"]))
            return found

        async def in_memory() -> bool:
            fields = f"spec.nodeName={gpu['metadata']['name']}"
            return bool((await listed("/api/v1/pods", fields=fields, cached=True)).items)

        await cluster.until(in_memory)
        monkeypatch.setattr(cluster.client, "list", counted)
        one_by_one = await observe(cluster)
        monkeypatch.setattr("controller.collectors.cluster._MOST_NODES_ONE_BY_ONE", 0)
        assert "foreign" in read
        assert not [name for name in read if name.startswith("crowd")]

        at_once = await observe(cluster)

    assert [node.foreign_gpus for node in one_by_one.nodes or ()] == [3]
    assert one_by_one.nodes == at_once.nodes


async def test_a_worker_has_its_milestones_once_it_runs(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    node = await cluster.node("n0", pool="gpu", gpus=2)
    pod = await cluster.worker("w0", nodeName=node["metadata"]["name"])
    at = float(int(SystemClock().now()))
    condition = {"status": "True", "lastTransitionTime": timestamp(at + 5)}
    status = {
        "phase": "Running",
        "podIP": "10.4.0.7",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp(at + 1)},
            {"type": "Ready", **condition},
        ],
        "containerStatuses": [
            {
                "name": "main",
                "image": "ray",
                "imageID": "x",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": timestamp(at + 3)}},
            }
        ],
    }
    await cluster.set_status(f"/api/v1/namespaces/{cluster.namespace}/pods/w0", status)

    found = await observe(cluster)

    [worker] = found.nodes[0].workers
    assert worker.state is WorkerState.READY
    assert worker.address == "10.4.0.7"
    assert (worker.since, worker.image_pulled_at, worker.ready_at) == (at + 1, at + 3, at + 5)
    assert timestamp(worker.created_at) == pod["metadata"]["creationTimestamp"]


async def test_nodes_that_are_going_or_coming_are_told_from_those_that_take_pods(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    taint = {"key": "cloud.google.com/impending-node-termination", "value": "", "effect": "NoSchedule"}
    removed = {"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"}
    candidate = {"key": "DeletionCandidateOfClusterAutoscaler", "value": "1", "effect": "PreferNoSchedule"}
    await cluster.node("cordoned", pool="gpu", unschedulable=True)
    await cluster.node("reclaimed", pool="spot", taints=[taint])
    await cluster.node("removed", pool="gpu", taints=[removed])
    await cluster.node("candidate", pool="gpu", taints=[candidate])
    await cluster.node("driverless", pool="gpu", gpus=0)
    await cluster.node("booting", pool="gpu", ready=False)
    await cluster.node("lost", pool="gpu", ready=False, at=SystemClock().now() + 3600)

    found = await observe(cluster)

    states = {node.name.removeprefix(f"{cluster.namespace}-"): node.state for node in found.nodes}
    assert states == {
        "cordoned": NodeState.DRAINING,
        "reclaimed": NodeState.DRAINING,
        "removed": NodeState.DRAINING,
        "candidate": NodeState.READY,
        "driverless": NodeState.STARTING,
        "booting": NodeState.STARTING,
        "lost": NodeState.DRAINING,
    }
    assert {node.gpus for node in found.nodes if "driverless" in node.name} == {2}


async def test_events_of_the_autoscaler_become_refusals_of_the_pool_that_is_meant(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    await cluster.worker("w0", gpus=16)
    await cluster.pod("somebody", gpus=16)
    at = float(int(SystemClock().now()))
    text = "Node scale up in zones a associated with this pod failed: GCE out of resources. Pod is at risk."
    for pod in ("w0", "somebody"):
        await cluster.event(pod, "FailedScaleUp", text, at=at)

    found = await observe(cluster)

    detail = "FailedScaleUp: GCE out of resources"
    assert found.events == (
        Refusal(pool=cluster.pool("gpu"), at=at, kind=VerdictKind.STOCKED_OUT, detail=detail, zone="a"),
    )


async def test_pools_come_from_the_cloud_and_its_news_is_added(cluster: Cluster) -> None:
    await cluster.ray_cluster()
    pool = PoolFound(name="gpu", status=PoolStatus.RUNNING, autoscaled=True, zones=("a",))
    refusal = Refusal(pool="gpu", at=1.0, kind=VerdictKind.QUOTA, detail="GCE_QUOTA_EXCEEDED")

    found = await observe(cluster, PoolsFound(pools=(pool,), events=(refusal,), problems=("slow",)))

    assert found.pools == (pool,)
    assert found.events == (refusal,)
    assert found.problems == ("slow",)
    assert (await observe(cluster)).pools is None


async def test_without_a_ray_cluster_nodes_and_groups_are_unknown_and_it_is_said_why(cluster: Cluster) -> None:
    await cluster.node("n0", pool="gpu")

    found = await observe(cluster)

    assert found.nodes is None
    assert found.groups is None
    assert "there is no RayService and no RayCluster" in found.problems[0]
    assert found.frozen == found.problems[0]


async def test_an_upgrade_freezes_and_a_group_over_several_hosts_is_left_out(cluster: Cluster) -> None:
    await cluster.ray_cluster(groups=(worker_group(), worker_group("wide", numOfHosts=2)))
    await cluster.ray_service(status={"pendingServiceStatus": {"rayClusterName": "chat-next"}})

    found = await observe(cluster)

    assert "chat-next" in (found.frozen or "")
    assert [group.name for group in found.groups] == ["l4"]
    assert found.problems == ("worker group wide: numOfHosts is 2; only groups of one host each are scaled",)
