"""The cluster that a policy speaks of, as a simulated one: its pools, worker groups and deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import BadInputError
from controller.policy.cluster import (
    BoundsScope,
    ClusterPolicy,
    GkePolicy,
    NodePoolPolicy,
    PlacementPolicy,
    WorkerGroupPolicy,
)
from controller.policy.model import DeploymentPolicy, Policy
from controller.simulated_cloud.cloud import Group
from controller.simulated_cloud.gke_api import CLUSTER
from controller.simulated_cloud.machines import POOL
from controller.simulated_cloud.pools import Pool
from controller.simulated_cloud.serve import App

LEAD_S = 300.0
"""From order to ready, where the policy does not say: the middle of what is reported for GPU nodes."""

_START_S = 60.0
_UNTIL_NODE, _UNTIL_READY = 0.6, 0.4
_SPREAD = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What to simulate. ``begin`` are the nodes that are there at first, by pool."""

    pools: tuple[Pool, ...]
    groups: tuple[Group, ...]
    apps: tuple[App, ...]
    begin: Mapping[str, int]
    where: GkePolicy


def blueprint(policy: Policy) -> Blueprint:
    """Read the policy's cluster; every deployment begins with its fewest replicas, or one, on nodes that are there.

    Raises:
        BadInputError: there is no cluster, or something in it that is not simulated.

    """
    cluster = policy.cluster
    if cluster is None:
        msg = (
            "the policy has no cluster section; the simulated cluster has the node pools and worker groups named there"
        )
        raise BadInputError(msg)
    if cluster.node_pool_label != POOL:
        msg = f"cluster.node_pool_label: {cluster.node_pool_label!r} is not simulated; leave it out ({POOL})"
        raise BadInputError(msg)
    pools = sorted(cluster.node_pools, key=lambda one: one.pool.priority)
    replicas_on: dict[str, int] = {}
    apps = []
    for deployment in policy.deployments:
        placement = _placement(deployment)
        replicas = max(1, deployment.limits.min_replicas)
        pool = _first(cluster, pools, deployment, placement)
        each = pool.gpus_per_node // placement.shape.gpus
        replicas_on[pool.name] = replicas_on.get(pool.name, 0) + -(-replicas // each)
        apps.append(
            App(
                id=deployment.id,
                gpus=placement.shape.gpus,
                accelerator=placement.accelerator,
                replicas=replicas,
                start_s=deployment.lead_time.assumed_s or _START_S,
            )
        )
    workers_on: dict[str, int] = {}
    for group in cluster.worker_groups:
        pool = _housing(pools, group)
        nodes = -(-group.min_workers // (pool.gpus_per_node // group.gpus_per_worker))
        workers_on[pool.name] = workers_on.get(pool.name, 0) + nodes
    begin = {one.name: max(replicas_on.get(one.name, 0), workers_on.get(one.name, 0)) for one in pools}
    return Blueprint(
        pools=tuple(map(_pool, pools)),
        groups=tuple(map(_group, cluster.worker_groups)),
        apps=tuple(apps),
        begin=begin,
        where=cluster.gke or CLUSTER,
    )


def _placement(deployment: DeploymentPolicy) -> PlacementPolicy:
    if deployment.placement is None:
        msg = (
            f"{deployment.id}: has no placement; say which GPUs a replica takes: placement: {{accelerator: nvidia-l4}}"
        )
        raise BadInputError(msg)
    return deployment.placement


def _first(
    cluster: ClusterPolicy, pools: list[NodePoolPolicy], deployment: DeploymentPolicy, placement: PlacementPolicy
) -> NodePoolPolicy:
    """Return the first pool on which a worker has room for a replica."""
    for group in cluster.worker_groups:
        if group.accelerator == placement.accelerator and group.gpus_per_worker >= placement.shape.gpus:
            return _housing(pools, group)
    msg = (
        f"{deployment.id}: no worker group has {placement.shape.gpus} {placement.accelerator} in one worker; "
        f"replicas over several workers are not simulated (worker_groups: gpus_per_worker)"
    )
    raise BadInputError(msg)


def _housing(pools: list[NodePoolPolicy], group: WorkerGroupPolicy) -> NodePoolPolicy:
    """Return the first pool that a worker of a group may be on; the policy was checked to have one."""
    return next(
        pool
        for pool in pools
        if pool.accelerator == group.accelerator
        and pool.gpus_per_node >= group.gpus_per_worker
        and pool.name in (group.node_pools or (pool.name,))
    )


def _pool(policy: NodePoolPolicy) -> Pool:
    if policy.queued:
        msg = f"cluster.node_pools: {policy.name} is queued; queues of ProvisioningRequests are not simulated"
        raise BadInputError(msg)
    lead_s = policy.assumed_lead_s or LEAD_S
    low, high = policy.bounds.min_nodes, policy.bounds.max_nodes
    in_total = policy.bounds.scope is BoundsScope.TOTAL
    return Pool(
        name=policy.name,
        zones=policy.zones,
        accelerator=policy.accelerator,
        gpus=policy.gpus_per_node,
        provisioning=policy.provisioning.value,
        total=(low, high) if in_total else None,
        per_zone=None if in_total else (low, high),
        provision_s=_around(_UNTIL_NODE * lead_s),
        boot_s=_around(_UNTIL_READY * lead_s),
    )


def _around(seconds: float) -> tuple[float, float]:
    return (1.0 - _SPREAD) * seconds, (1.0 + _SPREAD) * seconds


def _group(policy: WorkerGroupPolicy) -> Group:
    return Group(
        name=policy.name,
        gpus=policy.gpus_per_worker,
        accelerator=policy.accelerator,
        least=policy.min_workers,
        most=policy.max_workers,
        pools=policy.node_pools,
    )
