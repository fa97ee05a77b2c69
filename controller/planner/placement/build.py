"""Turns what is known of the cluster into an assignment problem."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterInput, ComingNodes, PoolLeads, ReplicaDemand
from controller.domain.pools import Accelerator, NodePool
from controller.domain.workers import Packing, ReplicaState, Worker, WorkerGroup, WorkerState
from controller.planner.placement.headroom import Headroom, headroom
from controller.planner.placement.problem import (
    ExistingWorker,
    GroupLimit,
    HostKind,
    Origin,
    Problem,
    ReplicaClass,
)

_SAME_MOMENT_S = 1e-6
_PATIENCE = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known, in canonical order and by name, with what is derived from it once.

    ``headrooms`` say how many nodes each pool may get, ``moments`` are the times (seconds from now) by which
    workers must be ready, ascending.
    """

    given: ClusterInput
    nodes: tuple[Node, ...]
    pools: Mapping[str, NodePool]
    leads: Mapping[str, PoolLeads]
    headrooms: Mapping[str, Headroom]
    coming: Mapping[str, int]
    moments: tuple[float, ...]
    now: float

    def tier(self, ready_s: float) -> int:
        """First moment by which something is there that is ready in ``ready_s``; the one after the last if none."""
        return bisect.bisect_left(self.moments, ready_s - _SAME_MOMENT_S)

    def groups_for(self, pool: NodePool) -> tuple[WorkerGroup, ...]:
        """Groups whose workers may run in a pool, by name."""
        return tuple(
            group
            for group in sorted(self.given.groups, key=lambda group: group.name)
            if group.accelerator == pool.accelerator and (not group.node_pools or pool.name in group.node_pools)
        )


def scene(given: ClusterInput, nodes: Sequence[Node], *, now: float) -> Scene:
    """Sort and index what is known; nodes of pools that the plan does not know are left out."""
    pools = {pool.name: pool for pool in sorted(given.pools, key=lambda pool: pool.name)}
    known = tuple(sorted((node for node in nodes if node.pool in pools), key=lambda node: node.name))
    coming = Counter[str]()
    for order in given.coming:
        coming[order.pool] += order.nodes
    due = {_host_due_s(demand, wanted.due_s) for demand in given.demands for wanted in demand.wanted}
    return Scene(
        given=given,
        nodes=known,
        pools=pools,
        leads={lead.pool: lead for lead in given.leads},
        headrooms={name: headroom(pool, known, coming[name], given.verdicts, now=now) for name, pool in pools.items()},
        coming=coming,
        moments=tuple(sorted(due)),
        now=now,
    )


def node_problem(seen: Scene) -> Problem:
    """Place all that is wanted, however far ahead, on nodes that exist, are coming, or could be ordered."""
    hosts = [*_existing(seen, vacated=True), *_coming(seen), *_orderable(seen)]
    may_go = {name for kind in hosts if kind.optional for name in kind.names}
    staying = Counter(node.pool for node in seen.nodes if node.name not in may_go)
    missing = {name: pool.min_nodes - staying[name] for name, pool in seen.pools.items()}
    return _problem(
        seen, hosts, going=may_go, missing_nodes={name: count for name, count in missing.items() if count > 0}
    )


def worker_problem(seen: Scene, kept: Collection[str]) -> Problem:
    """Place what is wanted on the ready nodes among ``kept``: which workers to have now.

    What is wanted later is started now, too: the node is kept for it, so waiting would save nothing.
    """
    ready = {node.name for node in seen.nodes if node.name in kept and node.state is NodeState.READY}
    hosts = [replace(kind, origin=Origin.IN_USE) for kind in _existing(seen, ready)]
    going = {node.name for node in seen.nodes} - set(kept)
    return _problem(seen, hosts, going=going, missing_nodes={})


def _problem(
    seen: Scene,
    hosts: Sequence[HostKind],
    *,
    going: Collection[str],
    missing_nodes: Mapping[str, int],
) -> Problem:
    useful = [kind for kind in hosts if kind.optional or kind.workers or kind.groups]
    cost_left, gpus_left = _left(seen)
    return Problem(
        classes=_classes(seen),
        hosts=tuple(sorted(useful, key=lambda kind: kind.sort_key)),
        groups=_group_limits(seen, going),
        tiers=len(seen.moments),
        cost_left=cost_left,
        gpus_left=gpus_left,
        missing_nodes=missing_nodes,
    )


def _classes(seen: Scene) -> tuple[ReplicaClass, ...]:
    """Replicas that have no place yet, by what makes them alike.

    Replicas on nodes that drain are about to be lost, and draining ones leave: both count as not there.
    """
    present = present_replicas(seen.nodes)
    members: dict[tuple[Accelerator, int, int, bool, int], Counter[DeploymentId]] = defaultdict(Counter)
    for demand in seen.given.demands:
        shape, covered = demand.shape, present.get(demand.id, 0)
        strict = shape.packing is Packing.STRICT_PACK
        for wanted in sorted(demand.wanted, key=lambda wanted: wanted.due_s):
            due_s = _host_due_s(demand, wanted.due_s)
            if wanted.replicas <= covered:
                continue
            alike = (shape.accelerator, seen.tier(due_s), shape.gpus, strict, demand.weight)
            members[alike][demand.id] += wanted.replicas - covered
            covered = wanted.replicas
    return tuple(
        ReplicaClass(
            accelerator=accelerator,
            tier=tier,
            gpus=gpus,
            strict=strict,
            weight=weight,
            count=sum(owners.values()),
            members=tuple(sorted(owners.items())),
        )
        for (accelerator, tier, gpus, strict, weight), owners in sorted(members.items())
    )


def present_replicas(nodes: Iterable[Node]) -> Mapping[DeploymentId, int]:
    """Count the replicas of each deployment that are there and stay: not those that drain, nor on nodes that do."""
    staying: set[tuple[DeploymentId, str]] = set()
    leaving: set[tuple[DeploymentId, str]] = set()
    for node in nodes:
        for worker in node.workers:
            for occupant in worker.occupants:
                leaves = node.state is NodeState.DRAINING or occupant.state is ReplicaState.DRAINING
                (leaving if leaves else staying).add((occupant.deployment, occupant.replica))
    return Counter(deployment for deployment, _ in staying - leaving)


def _existing(seen: Scene, names: Collection[str] | None = None, *, vacated: bool = False) -> list[HostKind]:
    """Kinds of the nodes that workers run on or can be scheduled to, now or when they are ready.

    A node that is long overdue is not counted on, nor is one that drains. GPUs of replicas that drain are about to
    be free: where ``vacated``, they are places, too, so that no node is ordered for what they will have room for.
    """
    alike: dict[HostKind, list[str]] = defaultdict(list)
    for node in seen.nodes:
        ready_s = _ready_s(node, seen.leads[node.pool].node, seen.now)
        if ready_s is not None and (names is None or node.name in names):
            alike[_kind(seen, node, ready_s, vacated=vacated)].append(node.name)
    return [replace(kind, count=len(found), names=tuple(found)) for kind, found in alike.items()]


def _kind(seen: Scene, node: Node, ready_s: float, *, vacated: bool) -> HostKind:
    pool = seen.pools[node.pool]
    worker_lead = seen.leads[node.pool].worker
    usable = [_usable(seen, worker, worker_lead) for worker in node.workers]
    if vacated:
        usable += [_vacated(seen, worker, worker_lead) for worker in node.workers]
    return _host(
        seen,
        pool,
        origin=Origin.IN_USE if node.in_use else Origin.EMPTY,
        workers=tuple(sorted(worker for worker in usable if worker is not None)),
        room=node.free_gpus,
        ready_s=ready_s,
    )


def _vacated(seen: Scene, worker: Worker, lead: LeadTime) -> ExistingWorker | None:
    """What replicas that drain leave free. How long they take is not known; taken for as long as a new worker."""
    gpus = sum(one.gpus for one in worker.occupants if one.state is ReplicaState.DRAINING)
    return ExistingWorker(worker.group, gpus, seen.tier(lead.p90_s)) if gpus else None


def _usable(seen: Scene, worker: Worker, lead: LeadTime) -> ExistingWorker | None:
    ready_s = 0.0 if worker.state is WorkerState.READY else _remaining_s(worker.since, lead, seen.now)
    if ready_s is None or worker.free_gpus <= 0:
        return None
    return ExistingWorker(worker.group, worker.free_gpus, seen.tier(ready_s))


def _coming(seen: Scene) -> list[HostKind]:
    return [
        replace(
            _host(seen, seen.pools[order.pool], origin=Origin.COMING, ready_s=_expected_s(seen, order)),
            count=order.nodes,
        )
        for order in seen.given.coming
        if order.pool in seen.pools and order.nodes > 0
    ]


def _expected_s(seen: Scene, order: ComingNodes) -> float:
    """A node that is coming is not taken to be later than one ordered now, though leads change."""
    return min(max(0.0, order.expected_at - seen.now), seen.leads[order.pool].node.p90_s)


def _orderable(seen: Scene) -> list[HostKind]:
    return [
        replace(
            _host(seen, pool, origin=Origin.NEW, ready_s=seen.leads[name].node.p90_s),
            count=seen.headrooms[name].nodes,
        )
        for name, pool in seen.pools.items()
        if seen.headrooms[name].nodes > 0
    ]


def _host(
    seen: Scene,
    pool: NodePool,
    *,
    origin: Origin,
    ready_s: float,
    workers: tuple[ExistingWorker, ...] = (),
    room: int | None = None,
) -> HostKind:
    free = pool.gpus_per_node if room is None else max(0, room)
    return HostKind(
        pool=pool.name,
        accelerator=pool.accelerator,
        origin=origin,
        count=1,
        gpus=pool.gpus_per_node,
        cost=pool.node_cost,
        priority=pool.priority,
        workers=workers,
        room=free,
        room_tier=seen.tier(ready_s + seen.leads[pool.name].worker.p90_s),
        groups=tuple(group.name for group in seen.groups_for(pool) if group.gpus_per_worker <= free),
    )


def _ready_s(node: Node, lead: LeadTime, now: float) -> float | None:
    if node.state is NodeState.DRAINING:
        return None
    return 0.0 if node.state is NodeState.READY else _remaining_s(node.since, lead, now)


def _remaining_s(since: float, lead: LeadTime, now: float) -> float | None:
    """Seconds until what began at ``since`` is ready; None when it is so long overdue that it may never be.

    One of twenty is not there in its P95: what exists is given as long again, for in its place another would begin.
    """
    return None if now - since > _PATIENCE * lead.p95_s else max(0.0, lead.p90_s - (now - since))


def _group_limits(seen: Scene, going: Collection[str]) -> tuple[GroupLimit, ...]:
    existing = Counter(worker.group for node in seen.nodes for worker in node.workers)
    staying = Counter(
        worker.group
        for node in seen.nodes
        if node.name not in going and node.state is not NodeState.DRAINING
        for worker in node.workers
    )
    return tuple(
        GroupLimit(
            name=group.name,
            gpus=group.gpus_per_worker,
            left=max(0, group.max_workers - existing[group.name]),
            missing=max(0, group.min_workers - staying[group.name]),
        )
        for group in sorted(seen.given.groups, key=lambda group: group.name)
    )


def _left(seen: Scene) -> tuple[float | None, int | None]:
    """Cost and GPUs left for new nodes. All that exists or is coming counts, also what may go."""
    budget = seen.given.budget
    counts = Counter(node.pool for node in seen.nodes)
    counts.update(seen.coming)
    cost = sum(counts[name] * pool.node_cost for name, pool in seen.pools.items())
    gpus = sum(counts[name] * pool.gpus_per_node for name, pool in seen.pools.items())
    return (
        None if budget.cost_per_hour is None else max(0.0, budget.cost_per_hour - cost),
        None if budget.gpus is None else max(0, budget.gpus - gpus),
    )


def _host_due_s(demand: ReplicaDemand, due_s: float) -> float:
    """When the GPUs of a replica must be ready that is to serve in ``due_s``."""
    return max(0.0, due_s - demand.replica_lead_s)
