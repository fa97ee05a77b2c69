"""What the next replica of a deployment waits for: a worker, a node, or nothing; and how long these take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.forecast import LayerLead, LeadTime
from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterInput
from controller.domain.pools import NodePool
from controller.domain.workers import Packing, ReplicaShape, WorkerGroup, WorkerState
from controller.planner.placement.headroom import headroom


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The layers below a replica: what they take in the pool that is next, and which of them the next replica needs."""

    pool: str
    worker: LayerLead
    node: LayerLead
    missing: tuple[Layer, ...]

    @property
    def below(self) -> tuple[LayerLead, ...]:
        """Leads of the layers that the next replica waits for."""
        return tuple(lead for lead in (self.worker, self.node) if lead.layer in self.missing)


def chain(shape: ReplicaShape, given: ClusterInput, *, asked: int, now: float) -> Chain | None:
    """Follow what is under a deployment's next replica; ``asked`` of them wait for a worker already.

    None where no pool and worker group could ever hold one. While the nodes are unknown a worker and a node are
    taken to be there: that is how long a replica takes at least.
    """
    pool = _next_pool(shape, given, now)
    if pool is None:
        return None
    leads = next(lead for lead in given.leads if lead.pool == pool.name)
    return Chain(
        pool=pool.name,
        worker=_layer(Layer.WORKER, leads.worker),
        node=_layer(Layer.NODE, leads.node),
        missing=() if given.nodes is None else _missing(shape, given, given.nodes, asked),
    )


def _next_pool(shape: ReplicaShape, given: ClusterInput, now: float) -> NodePool | None:
    """The pool that the next node would be taken from; the first of all when none has room."""
    able = sorted(
        (pool for pool in given.pools if any(_runs(group, pool, shape) for group in given.groups)),
        key=lambda pool: (pool.priority, pool.node_cost, pool.name),
    )
    coming = {order.pool: order.nodes for order in given.coming}
    with_room = (
        pool
        for pool in able
        if headroom(pool, given.nodes or (), coming.get(pool.name, 0), given.verdicts, now=now).nodes > 0
    )
    return next(with_room, able[0] if able else None)


def _missing(shape: ReplicaShape, given: ClusterInput, nodes: Sequence[Node], asked: int) -> tuple[Layer, ...]:
    """Layers that are not there for the replica after those that were asked for."""
    groups = {group.name: group for group in given.groups if group.accelerator == shape.accelerator}
    piece = shape.gpus if shape.packing is Packing.STRICT_PACK else 1
    on_workers, on_nodes = 0, 0
    for node in nodes:
        if node.state is not NodeState.READY:
            continue
        room = node.free_gpus
        for worker in node.workers:
            if worker.group in groups:
                pieces = worker.free_gpus // piece
                on_workers += pieces if worker.state is WorkerState.READY else 0
                on_nodes += pieces if worker.state is WorkerState.STARTING else 0
        on_nodes += max((_pieces(group, room, piece) for group in groups.values()), default=0)
    wanted = asked + 1 if shape.packing is Packing.STRICT_PACK else (asked + 1) * shape.gpus
    if on_workers >= wanted:
        return ()
    return (Layer.WORKER,) if on_workers + on_nodes >= wanted else (Layer.WORKER, Layer.NODE)


def _pieces(group: WorkerGroup, room: int, piece: int) -> int:
    return max(0, room) // group.gpus_per_worker * (group.gpus_per_worker // piece)


def _runs(group: WorkerGroup, pool: NodePool, shape: ReplicaShape) -> bool:
    fits = group.gpus_per_worker <= pool.gpus_per_node and (not group.node_pools or pool.name in group.node_pools)
    large = shape.packing is Packing.PACK or group.gpus_per_worker >= shape.gpus
    return fits and large and group.accelerator == pool.accelerator == shape.accelerator


def _layer(layer: Layer, lead: LeadTime) -> LayerLead:
    return LayerLead(layer=layer, p50_s=lead.p50_s, p90_s=lead.p90_s, p95_s=lead.p95_s, source=lead.source)
