"""Builders of clusters to plan for, and what any assignment must keep to, whoever made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterInput, PoolLeads, ReplicaDemand, WantedBy
from controller.domain.pools import Accelerator, NodePool, PoolVerdict, Provisioning, TotalBounds, VerdictKind
from controller.domain.workers import Occupant, Packing, ReplicaShape, ReplicaState, Worker, WorkerGroup, WorkerState
from controller.planner.placement.problem import HostUse, Origin, Problem
from controller.planner.placement.problem import Packing as Assignment

NOW = 50_000.0
L4, H100 = Accelerator("nvidia-l4"), Accelerator("nvidia-h100-80gb")
CHAT, CODE = DeploymentId("chat", "llm"), DeploymentId("code", "llm")
REPLICA_S, WORKER_S, NODE_S = 60.0, 40.0, 200.0
BY_REPLICA, BY_WORKER, BY_NODE = REPLICA_S, REPLICA_S + WORKER_S, REPLICA_S + WORKER_S + NODE_S


def lead(seconds: float) -> LeadTime:
    """The same at every quantile but the 95th, where it is a tenth longer."""
    return LeadTime(p50_s=seconds, p90_s=seconds, p95_s=seconds * 1.1, source=LeadSource.POLICY, samples=0)


def pool(name: str = "l4", **changes: Any) -> NodePool:
    """Ten on-demand nodes at most, with one L4 each, at 1 per hour."""
    most = changes.pop("most", 10)
    fields: dict[str, Any] = {
        "accelerator": L4,
        "gpus_per_node": 1,
        "zones": ("a", "b"),
        "provisioning": Provisioning.ON_DEMAND,
        "priority": 1,
        "bounds": TotalBounds(0, most),
        "price_per_hour": 1.0,
    }
    return NodePool(name=name, **{**fields, **changes})


def group(name: str = "l4", **changes: Any) -> WorkerGroup:
    """Twenty workers at most, with one L4 each."""
    fields: dict[str, Any] = {"accelerator": L4, "gpus_per_worker": 1, "min_workers": 0, "max_workers": 20}
    return WorkerGroup(name=name, **{**fields, **changes})


def wants(
    replicas: int | Sequence[tuple[float, int]], name: DeploymentId = CHAT, *, gpus: int = 1, **changes: Any
) -> ReplicaDemand:
    """So many replicas as soon as a replica takes, or (seconds, replicas) for each horizon."""
    steps = [(BY_REPLICA, replicas)] if isinstance(replicas, int) else replicas
    packing = changes.pop("packing", Packing.STRICT_PACK)
    accelerator = changes.pop("accelerator", L4)
    return ReplicaDemand(
        id=name,
        shape=ReplicaShape(accelerator=accelerator, tensor_parallel=gpus, packing=packing),
        replica_lead_s=REPLICA_S,
        wanted=tuple(WantedBy(due, count) for due, count in steps),
        **changes,
    )


def node(name: str, of: NodePool | None = None, *workers: Worker, **changes: Any) -> Node:
    """A ready node of a pool with these workers on it."""
    of = of or pool()
    fields: dict[str, Any] = {"zone": of.zones[0], "state": NodeState.READY, "since": NOW - 4000}
    return Node(name=name, pool=of.name, gpus=of.gpus_per_node, workers=workers, **{**fields, **changes})


def worker(name: str, *occupants: Occupant, of: WorkerGroup | None = None, **changes: Any) -> Worker:
    """A ready worker of a group with these replicas on it."""
    of = of or group()
    fields: dict[str, Any] = {"state": WorkerState.READY, "since": NOW - 3000}
    return Worker(name=name, group=of.name, gpus=of.gpus_per_worker, occupants=occupants, **{**fields, **changes})


def replica(name: str, of: DeploymentId = CHAT, gpus: int = 1, state: ReplicaState = ReplicaState.RUNNING) -> Occupant:
    """A running replica on so many GPUs of one worker."""
    return Occupant(replica=name, deployment=of, gpus=gpus, state=state)


def busy(name: str, of: NodePool | None = None, workers: WorkerGroup | None = None, gpus: int = 1) -> Node:
    """A node whose one worker serves one replica of chat."""
    return node(name, of, worker(f"w-{name}", replica(f"r-{name}", gpus=gpus), of=workers))


def stocked_out(name: str, until: float = NOW + 300, zone: str | None = None) -> PoolVerdict:
    """A verdict of the platform on a pool or one of its zones."""
    detail = "ZONE_RESOURCE_POOL_EXHAUSTED"
    return PoolVerdict(pool=name, kind=VerdictKind.STOCKED_OUT, since=NOW - 10, until=until, detail=detail, zone=zone)


def cluster(
    *demands: ReplicaDemand,
    pools: Sequence[NodePool] | None = None,
    groups: Sequence[WorkerGroup] | None = None,
    nodes: Sequence[Node] | None = (),
    node_s: dict[str, float] | None = None,
    **changes: Any,
) -> ClusterInput:
    """One pool of L4 nodes and one group of L4 workers, unless told otherwise; no nodes."""
    pools = [pool()] if pools is None else pools
    return ClusterInput(
        demands=demands,
        pools=tuple(pools),
        groups=tuple([group()] if groups is None else groups),
        nodes=None if nodes is None else tuple(nodes),
        leads=tuple(
            PoolLeads(pool=one.name, node=lead((node_s or {}).get(one.name, NODE_S)), worker=lead(WORKER_S))
            for one in pools
        ),
        **changes,
    )


def faults(problem: Problem, assignment: Assignment) -> list[str]:
    """What is impossible about an assignment, counted anew from the problem alone."""
    found = [fault for use in assignment.hosts for fault in _host_faults(problem, use)]
    hosts = Counter(use.host for use in assignment.hosts)
    added = Counter(one.group for use in assignment.hosts for one in use.workers if one.new)
    taken: Counter[int] = Counter()
    for use in assignment.hosts:
        for one in use.workers:
            for load in one.loads:
                taken[load.replica_class] += load.gpus
    for index, gpus in taken.items():
        replicas = problem.classes[index]
        if gpus % replicas.gpus or gpus > replicas.count * replicas.gpus:
            found.append(f"{gpus} GPUs are not whole replicas of {replicas.gpus}, at most {replicas.count}")
    found += [f"too many hosts of kind {index}" for index, count in hosts.items() if count > problem.hosts[index].count]
    found += [f"too many workers of {one.name}" for one in problem.groups if added[one.name] > one.left]
    new = [problem.hosts[use.host] for use in assignment.hosts if problem.hosts[use.host].origin is Origin.NEW]
    if problem.cost_left is not None and sum(kind.cost for kind in new) > problem.cost_left + 1e-6:
        found.append("over the cost budget")
    if problem.gpus_left is not None and sum(kind.gpus for kind in new) > problem.gpus_left:
        found.append("over the GPU budget")
    return found


def _host_faults(problem: Problem, use: HostUse) -> Iterator[str]:
    kind = problem.hosts[use.host]
    if sum(one.gpus for one in use.workers if one.new) > kind.room:
        yield f"new workers exceed the room on {kind.pool}"
    there = Counter((one.group, one.free_gpus, one.tier) for one in kind.workers)
    there.subtract((one.group, one.gpus, one.tier) for one in use.workers if not one.new)
    yield from (f"worker {key} is not on {kind.pool}" for key, count in there.items() if count < 0)
    for one in use.workers:
        if one.new and (one.group not in kind.groups or one.tier != kind.room_tier):
            yield f"a worker of {one.group} cannot come up on {kind.pool} in tier {one.tier}"
        if sum(load.gpus for load in one.loads) > one.gpus:
            yield f"more than {one.gpus} GPUs of a worker of {one.group} are given away"
        for load in one.loads:
            replicas = problem.classes[load.replica_class]
            if replicas.accelerator != kind.accelerator:
                yield "a replica lies on another accelerator"
            if replicas.strict and load.gpus != replicas.gpus:
                yield "a replica that must not be split is split"
