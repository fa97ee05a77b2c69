"""What was found of pools and worker groups, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from controller.domain.cluster import ClusterFound, GroupFound, PoolFound
from controller.domain.cluster_record import GroupSeen, PoolSeen
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterInput
from controller.domain.workers import Worker, WorkerGroup, WorkerState


def pools_seen(given: ClusterInput, found: ClusterFound) -> tuple[PoolSeen, ...]:
    """Sum up the pools of a plan's input, by name; its nodes are those with replicas on them."""
    leads = {lead.pool: lead for lead in given.leads}
    live: Mapping[str, PoolFound] = {pool.name: pool for pool in found.pools or ()}
    warm = None if found.warm is None else dict(found.warm)
    coming: Counter[str] = Counter()
    for order in given.coming:
        coming[order.pool] += order.nodes
    return tuple(
        PoolSeen(
            pool=pool.name,
            accelerator=pool.accelerator,
            gpus_per_node=pool.gpus_per_node,
            provisioning=pool.provisioning,
            order=pool.priority,
            price_per_hour=pool.price_per_hour,
            status=pool.status,
            most=pool.max_nodes,
            ready=_nodes(given.nodes, pool.name, NodeState.READY),
            starting=_nodes(given.nodes, pool.name, NodeState.STARTING),
            draining=_nodes(given.nodes, pool.name, NodeState.DRAINING),
            in_use=_in_use(given.nodes, pool.name),
            coming=coming[pool.name],
            warm=None if warm is None else warm.get(pool.name, 0),
            operation=live[pool.name].operation if pool.name in live else None,
            node=leads[pool.name].node,
            worker=leads[pool.name].worker,
        )
        for pool in sorted(given.pools, key=lambda pool: pool.name)
    )


def groups_seen(
    groups: Iterable[WorkerGroup], nodes: Sequence[Node] | None, found: Sequence[GroupFound] | None
) -> tuple[GroupSeen, ...]:
    """Sum up the worker groups of the policy, by name."""
    live = {group.name: group for group in found or ()}
    return tuple(
        _group_seen(group.name, _workers(nodes, group.name), live.get(group.name))
        for group in sorted(groups, key=lambda group: group.name)
    )


def _group_seen(name: str, workers: Sequence[Worker] | None, live: GroupFound | None) -> GroupSeen:
    return GroupSeen(
        group=name,
        min_workers=None if live is None else live.min_workers,
        max_workers=None if live is None else live.max_workers,
        ready=None if workers is None else sum(one.state is WorkerState.READY for one in workers),
        starting=None if workers is None else sum(one.state is WorkerState.STARTING for one in workers),
        busy=None if workers is None else sum(bool(one.occupants) for one in workers),
        pending=None if live is None else len(live.pending),
    )


def _workers(nodes: Sequence[Node] | None, group: str) -> Sequence[Worker] | None:
    return None if nodes is None else [one for node in nodes for one in node.workers if one.group == group]


def _nodes(nodes: Sequence[Node] | None, pool: str, state: NodeState) -> int | None:
    return None if nodes is None else sum(node.pool == pool and node.state is state for node in nodes)


def _in_use(nodes: Sequence[Node] | None, pool: str) -> int | None:
    return None if nodes is None else sum(node.pool == pool and node.in_use for node in nodes)
