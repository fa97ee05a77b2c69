"""Reads the cluster that replicas run on: nodes, workers and worker groups from Kubernetes, pools from the cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from controller.clients.kubernetes import Json, KubernetesClient
from controller.clients.queued_nodes import Queued
from controller.clients.ray_clusters import LiveCluster, RayClusters
from controller.clients.warm_capacity import Warm, WarmCapacityStore
from controller.clients.warm_objects import WARM_LABEL
from controller.collectors.kube_events import REASONS, Candidate, read_refusals
from controller.collectors.kube_nodes import GROUP, PodsFound, read_nodes, read_pods
from controller.collectors.kube_objects import gpus_of_pod, labels_of, name_of, over, part, parts, whole
from controller.collectors.refusals import refusal_kind
from controller.domain.cluster import ClusterFound, GroupFound, PoolsFound
from controller.domain.nodes import Node
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal
from controller.errors import UnavailableError
from controller.policy.cluster import ClusterPolicy
from controller.ports import PoolReader

NEWS_S = 3600.0
"""Events are kept for an hour by default, so no older refusal is looked for."""

_MOST_EVENTS = 2000
_NOT_OVER = "status.phase!=Succeeded,status.phase!=Failed"
_MOST_NODES_ONE_BY_ONE, _AT_ONCE = 200, 16
"""Up to so many nodes their pods are asked for node by node, so many at a time."""
_T = TypeVar("_T")
_NO_MAXIMUM = 2_147_483_647
"""What KubeRay takes an absent ``maxReplicas`` for."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A part that could not be read, and why."""

    problem: str


class KubernetesObserver:
    """Observes a cluster. ``policy`` names the pools and groups that matter; ``pools`` reads the cloud, if any.

    Every call reads afresh, in pages that are bounded in time and size. Of pods only those are read that matter: those
    of the service's namespace, and those of others on nodes of the pools, node by node (all, where there are many).
    """

    def __init__(
        self,
        *,
        client: KubernetesClient,
        ray: RayClusters,
        policy: Callable[[], ClusterPolicy],
        warm: WarmCapacityStore,
        pools: PoolReader | None = None,
    ) -> None:
        self._client = client
        self._ray = ray
        self._warm = warm
        self._policy = policy
        self._pools = pools

    async def observe(self, now: float) -> ClusterFound:
        """Read everything at once; what cannot be read is None, and ``problems`` says why."""
        policy = self._policy()
        live, (nodes, pods), events, (warm, queued), pools = await asyncio.gather(
            _kept(self._ray.live()),
            self._nodes_and_pods(policy),
            _kept(self._events()),
            asyncio.gather(_kept(self._warm.read()), _kept(self._queued(policy))),
            self._read_pools(now),
        )
        read = _Read(live=live, pods=pods, nodes=nodes, events=events, warm=warm, queued=queued, pools=pools)
        return _compose(policy, read, namespace=self._ray.namespace, now=now)

    async def close(self) -> None:
        """Release what reads the pools; the client belongs to the caller."""
        if self._pools is not None:
            await self._pools.close()

    async def _nodes_and_pods(
        self, policy: ClusterPolicy
    ) -> tuple[tuple[Json, ...] | _Failed, tuple[Json, ...] | _Failed]:
        nodes = await _kept(self._list("/api/v1/nodes", labels=_any_pool(policy)))
        if isinstance(nodes, _Failed):
            return nodes, nodes
        return nodes, await _kept(self._pods([name_of(node) for node in nodes]))

    async def _pods(self, nodes: Sequence[str]) -> tuple[Json, ...]:
        """Pods that are not over: all of the namespace, and those of others on these nodes."""
        if len(nodes) > _MOST_NODES_ONE_BY_ONE:
            return await self._list("/api/v1/pods", fields=_NOT_OVER)
        namespace = self._ray.namespace
        gate = asyncio.Semaphore(_AT_ONCE)

        async def others(node: str) -> tuple[Json, ...]:
            async with gate:
                fields = f"{_NOT_OVER},spec.nodeName={node},metadata.namespace!={namespace}"
                return await self._list("/api/v1/pods", fields=fields, cached=True)

        ours, *found = await asyncio.gather(
            self._list(f"/api/v1/namespaces/{namespace}/pods", fields=_NOT_OVER), *map(others, nodes)
        )
        return (*ours, *(pod for listed in found for pod in listed))

    async def _list(self, path: str, *, labels: str = "", fields: str = "", cached: bool = False) -> tuple[Json, ...]:
        listing = await self._client.list(path, labels=labels, fields=fields, cached=cached)
        if listing.cut:
            msg = f"{path} has more than {len(listing.items)} items; they are not all read"
            raise UnavailableError(msg)
        return listing.items

    async def _events(self) -> tuple[Json, ...]:
        path = f"/api/v1/namespaces/{self._ray.namespace}/events"
        lists = await asyncio.gather(
            *(
                self._client.list(path, most=_MOST_EVENTS, fields=f"involvedObject.kind=Pod,reason={reason}")
                for reason in REASONS
            )
        )
        return tuple(event for listing in lists for event in listing.items)

    async def _queued(self, policy: ClusterPolicy) -> tuple[Queued, ...]:
        return await self._warm.queued.read() if any(pool.queued for pool in policy.node_pools) else ()

    async def _read_pools(self, now: float) -> PoolsFound:
        return PoolsFound() if self._pools is None else await self._pools.read(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What came of reading each part."""

    live: LiveCluster | _Failed
    pods: tuple[Json, ...] | _Failed
    nodes: tuple[Json, ...] | _Failed
    events: tuple[Json, ...] | _Failed
    warm: tuple[Warm, ...] | _Failed
    queued: tuple[Queued, ...] | _Failed
    pools: PoolsFound


def _compose(policy: ClusterPolicy, read: _Read, *, namespace: str, now: float) -> ClusterFound:
    parts_read = (read.live, read.pods, read.nodes, read.events, read.warm, read.queued)
    problems = [one.problem for one in parts_read if isinstance(one, _Failed)]
    warm: tuple[tuple[str, int], ...] | None = None
    if not isinstance(read.warm, _Failed):
        warm = _nodes_kept(read.warm)
        problems += [f"warm capacity of {one.pool}: {one.trouble}" for one in read.warm if one.trouble]
    nodes: tuple[Node, ...] | None = None
    groups: tuple[GroupFound, ...] | None = None
    # Without the pods nobody knows what is free on a node; without the RayCluster, whose workers they are.
    if not isinstance(read.live, _Failed) and not isinstance(read.pods, _Failed):
        pods = read_pods(read.pods, cluster=read.live.name, namespace=namespace)
        groups, said = read_groups(read.live, pods)
        problems += said
        if not isinstance(read.nodes, _Failed):
            nodes = _nodes(read.nodes, pods, policy, now)
    return ClusterFound(
        at=now,
        nodes=nodes,
        groups=groups,
        pools=read.pools.pools,
        warm=warm,
        events=(*_refusals(read.events, read.pods, policy, now), *_refused(read.queued), *read.pools.events),
        frozen=read.live.problem if isinstance(read.live, _Failed) else read.live.frozen,
        problems=(*problems, *read.pools.problems),
    )


def read_groups(live: LiveCluster, pods: PodsFound) -> tuple[tuple[GroupFound, ...], tuple[str, ...]]:
    """Read the worker groups of a RayCluster, and what of them cannot be scaled, in sentences. Pure."""
    groups: list[GroupFound] = []
    problems: list[str] = []
    if not live.autoscaled:
        problems.append(
            f"RayCluster {live.name}: Ray's autoscaler is off, so nobody heeds the bounds of worker groups; "
            "set spec.enableInTreeAutoscaling: true"
        )
    for spec in parts(part(live.cluster, "spec"), "workerGroupSpecs"):
        name = str(spec.get("groupName") or "")
        hosts = whole(spec.get("numOfHosts")) or 1
        if hosts != 1:
            problems.append(f"worker group {name}: numOfHosts is {hosts}; only groups of one host each are scaled")
            continue
        groups.append(
            GroupFound(
                name=name,
                min_workers=whole(spec.get("minReplicas")) or 0,
                max_workers=_or(whole(spec.get("maxReplicas")), _NO_MAXIMUM),
                replicas=whole(spec.get("replicas")),
                pending=pods.pending.get(name, ()),
            )
        )
    return tuple(groups), tuple(problems)


def _refused(queued: tuple[Queued, ...] | _Failed) -> tuple[Refusal, ...]:
    """Requests for nodes that failed, or whose nodes were taken back."""
    if isinstance(queued, _Failed):
        return ()
    return tuple(
        Refusal(
            pool=one.pool,
            at=one.over_at,
            kind=refusal_kind(one.message) or VerdictKind.REFUSED,
            detail=f"ProvisioningRequest {one.over}: {' '.join(one.message.split())[:200]}",
        )
        for one in queued
        if one.failed and one.over_at is not None
    )


def _nodes_kept(warm: Iterable[Warm]) -> tuple[tuple[str, int], ...]:
    """Nodes kept for each pool; while the lever is changed two may keep some."""
    kept: dict[str, int] = {}
    for one in warm:
        kept[one.pool] = kept.get(one.pool, 0) + one.nodes
    return tuple(sorted(kept.items()))


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _nodes(nodes: tuple[Json, ...], pods: PodsFound, policy: ClusterPolicy, now: float) -> tuple[Node, ...]:
    gpus_of_pool = {pool.name: pool.gpus_per_node for pool in policy.node_pools}
    return read_nodes(nodes, pods, pool_label=policy.node_pool_label, gpus_of_pool=gpus_of_pool, now=now)


def _refusals(
    events: tuple[Json, ...] | _Failed, pods: tuple[Json, ...] | _Failed, policy: ClusterPolicy, now: float
) -> tuple[Refusal, ...]:
    if isinstance(events, _Failed) or isinstance(pods, _Failed):
        return ()
    return read_refusals(events, candidates=candidates(pods, policy), since=now - NEWS_S)


def candidates(pods: Iterable[Json], policy: ClusterPolicy) -> Mapping[str, tuple[Candidate, ...]]:
    """Return the pools that each pod of ours that wants GPUs may run in, by its name. Pure."""
    found = {}
    for pod in pods:
        ours = GROUP in labels_of(pod) or WARM_LABEL in labels_of(pod)
        if ours and not over(pod) and gpus_of_pod(pod):
            allowed = _named_pools(pod, policy.node_pool_label) or _pools_of_group(pod, policy)
            found[name_of(pod)] = tuple(
                Candidate(pool=pool.name, zones=tuple(sorted(pool.zones)))
                for pool in policy.node_pools
                if pool.name in allowed
            )
    return found


def _named_pools(pod: Json, label: str) -> set[str]:
    """Return the pools that the pod's own node selector or required affinity names."""
    spec = part(pod, "spec")
    if selected := part(spec, "nodeSelector").get(label):
        return {str(selected)}
    required = part(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    named = [
        {str(value) for value in rule.get("values") or ()}
        for term in parts(required, "nodeSelectorTerms")
        for rule in parts(term, "matchExpressions")
        if rule.get("key") == label and rule.get("operator") == "In"
    ]
    return set().union(*named)


def _pools_of_group(pod: Json, policy: ClusterPolicy) -> set[str]:
    name = labels_of(pod).get(GROUP)
    group = next((one for one in policy.worker_groups if one.name == name), None)
    if group is None:
        return set()
    return set(group.node_pools) or {
        pool.name
        for pool in policy.node_pools
        if pool.accelerator == group.accelerator and pool.gpus_per_node >= group.gpus_per_worker
    }


def _any_pool(policy: ClusterPolicy) -> str:
    return f"{policy.node_pool_label} in ({','.join(sorted(pool.name for pool in policy.node_pools))})"


async def _kept(reading: Awaitable[_T]) -> _T | _Failed:
    try:
        return await reading
    except UnavailableError as error:
        return _Failed(str(error))
