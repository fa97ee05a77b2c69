"""How many of a pool's planned nodes nothing but warm capacity asks for. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from controller.domain.cluster import ClusterFound, GroupFound
from controller.domain.nodes import Node, NodeState
from controller.domain.pools import NodePool
from controller.domain.workers import WorkerGroup


def warm_nodes(
    wanted: int, pool: NodePool, found: ClusterFound, *, pools: Sequence[NodePool], groups: Iterable[WorkerGroup]
) -> int | None:
    """Return the nodes to keep or order beyond those that workers hold, or will hold; None while that is not known.

    Workers without a node, and those still missing to the least of their group, ask for nodes themselves. They are
    counted where they can go: on free GPUs first, then on nodes without workers, then on new ones, in the order of
    the pools.
    """
    if found.nodes is None or found.groups is None:
        return None
    held = sum(1 for node in found.nodes if node.pool == pool.name and _held(node))
    return max(0, wanted - held - _asked_for(pool, found.nodes, found.groups, pools, tuple(groups)))


def _held(node: Node) -> bool:
    """Whether it counts among the wanted ones without our help; what drains is to be replaced."""
    return node.state is not NodeState.DRAINING and (bool(node.workers) or node.foreign_gpus > 0)


def _asked_for(
    pool: NodePool,
    nodes: Sequence[Node],
    found: Sequence[GroupFound],
    pools: Sequence[NodePool],
    groups: Sequence[WorkerGroup],
) -> int:
    """Nodes of the pool that workers which have none will take."""
    order = sorted(pools, key=lambda one: (one.priority, one.node_cost / one.gpus_per_node, one.name))
    free = [max(0, node.free_gpus) for node in nodes if _held(node)]
    places = [node.pool for node in nodes if _held(node)]
    room = {one.name: max(0, one.max_nodes - sum(node.pool == one.name for node in nodes)) for one in pools}
    empty = {
        one.name: sum(
            node.pool == one.name and not _held(node) and node.state is not NodeState.DRAINING for node in nodes
        )
        for one in pools
    }
    taken = 0
    for group in sorted(groups, key=lambda one: (-one.gpus_per_worker, one.name)):
        missing = _missing(group, nodes, found)
        able = [one for one in order if _fits(group, one)]
        names = {one.name for one in able}
        for index, place in enumerate(places):
            fit = min(missing, free[index] // group.gpus_per_worker) if place in names else 0
            free[index] -= fit * group.gpus_per_worker
            missing -= fit
        for stock in (empty, room):
            for one in able:
                per_node = one.gpus_per_node // group.gpus_per_worker
                count = min(stock[one.name], math.ceil(missing / per_node))
                stock[one.name] -= count
                for _ in range(count):
                    workers = min(missing, per_node)
                    missing -= workers
                    places.append(one.name)
                    free.append(one.gpus_per_node - workers * group.gpus_per_worker)
                    taken += one.name == pool.name
    return taken


def _missing(group: WorkerGroup, nodes: Sequence[Node], found: Sequence[GroupFound]) -> int:
    live = next((one for one in found if one.name == group.name), None)
    if live is None:
        return 0
    present = sum(worker.group == group.name for node in nodes for worker in node.workers)
    return max(len(live.pending), live.min_workers - present)


def _fits(group: WorkerGroup, pool: NodePool) -> bool:
    named = not group.node_pools or pool.name in group.node_pools
    return named and group.accelerator == pool.accelerator and group.gpus_per_worker <= pool.gpus_per_node
