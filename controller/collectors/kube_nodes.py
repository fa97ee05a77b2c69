"""Nodes of GPU pools with the Ray workers on them, out of Kubernetes' nodes and pods. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.clients.warm_objects import WARM_LABEL
from controller.collectors.kube_objects import (
    GPU,
    Json,
    condition,
    created_at,
    first_start,
    gpus_of_pod,
    holds,
    labels_of,
    leaving,
    moment,
    name_of,
    over,
    part,
    parts,
    whole,
)
from controller.domain.cluster import PendingWorker
from controller.domain.nodes import Node, NodeState
from controller.domain.workers import Worker, WorkerState

ZONE = "topology.kubernetes.io/zone"
CLUSTER, GROUP, NODE_TYPE = "ray.io/cluster", "ray.io/group", "ray.io/node-type"
"""KubeRay's labels on every pod it makes."""
_LEAVING_TAINTS = {
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/out-of-service",
    "node.kubernetes.io/unreachable",
    "node.cloudprovider.kubernetes.io/shutdown",
    "ToBeDeletedByClusterAutoscaler",
    "cloud.google.com/impending-node-termination",
    "karpenter.sh/disrupted",
}
"""``DeletionCandidateOfClusterAutoscaler`` is not among them: such a node takes pods, and is kept when it gets one."""

_MAINTENANCE, _ONGOING = "cloud.google.com/active-node-maintenance", "ONGOING"
_SAME_MOMENT_S = 60.0
"""A node whose Ready condition has not changed since about its creation never was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsFound:
    """Pods that count for the plan: workers by node, GPUs that others hold by node, workers without a node by group."""

    workers: Mapping[str, tuple[Worker, ...]]
    foreign_gpus: Mapping[str, int]
    pending: Mapping[str, tuple[PendingWorker, ...]]


def read_pods(pods: Iterable[Json], *, cluster: str | None, namespace: str) -> PodsFound:
    """Sort pods of all namespaces; the workers are those of the RayCluster that serves.

    Pods that only keep nodes warm hold nothing, since they give way to workers at once. Workers that are being
    deleted, or belong to another RayCluster, hold their GPUs as anybody else's pods do.
    """
    workers: dict[str, list[Worker]] = defaultdict(list)
    foreign: dict[str, int] = defaultdict(int)
    pending: dict[str, list[PendingWorker]] = defaultdict(list)
    for pod in pods:
        gpus, node = gpus_of_pod(pod), str(part(pod, "spec").get("nodeName") or "")
        if over(pod) or WARM_LABEL in labels_of(pod):
            continue
        group = _group(pod, cluster, namespace)
        if group is None:
            if node:
                foreign[node] += gpus
        elif node:
            workers[node].append(_worker(pod, group, gpus))
        else:
            pending[group].append(_pending(pod))
    return PodsFound(
        workers={node: tuple(sorted(found, key=lambda one: one.name)) for node, found in workers.items()},
        foreign_gpus=dict(foreign),
        pending={group: tuple(sorted(found, key=lambda one: one.name)) for group, found in pending.items()},
    )


def read_nodes(
    nodes: Iterable[Json], pods: PodsFound, *, pool_label: str, gpus_of_pool: Mapping[str, int], now: float
) -> tuple[Node, ...]:
    """Read the nodes of the pools that the policy names, sorted by name.

    ``gpus_of_pool`` is what a node is to have; one that is ready but shows no GPUs waits for their driver.
    """
    found = (
        _node(node, pool, pods, expected=gpus_of_pool[pool], now=now)
        for node in nodes
        if (pool := str(labels_of(node).get(pool_label) or "")) in gpus_of_pool
    )
    return tuple(sorted(found, key=lambda node: node.name))


def _node(node: Json, pool: str, pods: PodsFound, *, expected: int, now: float) -> Node:
    name = name_of(node)
    since = created_at(node)
    gpus = whole(part(node, "status", "allocatable").get(GPU)) or 0
    state = _state(node, has_gpus=gpus > 0)
    ready_at = moment(condition(node, "Ready").get("lastTransitionTime")) if holds(node, "Ready") else None
    return Node(
        name=name,
        pool=pool,
        zone=str(labels_of(node).get(ZONE) or ""),
        gpus=gpus or expected,
        state=state,
        since=now if since is None else since,
        workers=pods.workers.get(name, ()),
        foreign_gpus=pods.foreign_gpus.get(name, 0),
        ready_at=None if state is NodeState.STARTING else ready_at,
    )


def _state(node: Json, *, has_gpus: bool) -> NodeState:
    taints = {str(taint.get("key")) for taint in parts(part(node, "spec"), "taints")}
    if (
        leaving(node)
        or part(node, "spec").get("unschedulable") is True
        or taints & _LEAVING_TAINTS
        or labels_of(node).get(_MAINTENANCE) == _ONGOING
    ):
        return NodeState.DRAINING
    if holds(node, "Ready"):
        return NodeState.READY if has_gpus else NodeState.STARTING
    return NodeState.STARTING if _never_ready(node) else NodeState.DRAINING


def _never_ready(node: Json) -> bool:
    ready = condition(node, "Ready")
    changed, created = moment(ready.get("lastTransitionTime")), created_at(node)
    if not ready or ready.get("reason") == "NodeStatusNeverUpdated" or changed is None or created is None:
        return True
    return changed - created < _SAME_MOMENT_S


def _group(pod: Json, cluster: str | None, namespace: str) -> str | None:
    """Return the worker group of a pod of ours that stays; None for anybody else's."""
    labels = labels_of(pod)
    ours = (
        cluster is not None
        and labels.get(CLUSTER) == cluster
        and part(pod, "metadata").get("namespace") == namespace
        and labels.get(NODE_TYPE) == "worker"
    )
    return str(labels.get(GROUP) or "") if ours and not leaving(pod) else None


def _worker(pod: Json, group: str, gpus: int) -> Worker:
    created = created_at(pod)
    scheduled = moment(condition(pod, "PodScheduled").get("lastTransitionTime"))
    return Worker(
        name=name_of(pod),
        group=group,
        gpus=gpus,
        state=WorkerState.READY if holds(pod, "Ready") else WorkerState.STARTING,
        since=scheduled or created or 0.0,
        created_at=created,
        image_pulled_at=_image_pulled(pod),
        ready_at=moment(condition(pod, "Ready").get("lastTransitionTime")) if holds(pod, "Ready") else None,
        address=str(part(pod, "status").get("podIP") or "") or None,
    )


def _image_pulled(pod: Json) -> float | None:
    """When the first container with the worker's own image started, so that the image was there."""
    spec, status = part(pod, "spec"), part(pod, "status")
    images = {container.get("image") for container in parts(spec, "containers")[:1]}
    of_image = {
        container.get("name")
        for key in ("containers", "initContainers")
        for container in parts(spec, key)
        if container.get("image") in images
    }
    statuses = [
        one
        for key in ("containerStatuses", "initContainerStatuses")
        for one in parts(status, key)
        if one.get("name") in of_image
    ]
    return first_start(statuses)


def _pending(pod: Json) -> PendingWorker:
    why = str(condition(pod, "PodScheduled").get("message") or "")
    return PendingWorker(name=name_of(pod), created_at=created_at(pod) or 0.0, detail=" ".join(why.split())[:300])
