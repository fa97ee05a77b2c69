"""Workers without a node ask the cluster autoscaler for one themselves: nothing is kept warm for these besides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.domain.placement import ClusterInput, PoolTarget
from controller.domain.pools import NodePool
from controller.domain.workers import WorkerGroup


def without_pending(
    targets: Iterable[PoolTarget], given: ClusterInput, started: Mapping[str, int]
) -> tuple[PoolTarget, ...]:
    """Take off what is vacant the nodes that pending workers will take, in the pools' order.

    ``started`` are the workers of each group that the plan starts now on nodes that are there: pending ones are
    taken for these first, and their nodes are not vacant in the plan.
    """
    vacant = {target.pool: target.vacant for target in targets}
    pending = dict(given.pending)
    for group in sorted(given.groups, key=lambda one: (-one.gpus_per_worker, one.name)):
        left = max(0, pending.get(group.name, 0) - started.get(group.name, 0))
        for pool in sorted(given.pools, key=lambda one: (one.priority, one.node_cost / one.gpus_per_node, one.name)):
            if left and _fits(group, pool):
                each = pool.gpus_per_node // group.gpus_per_worker
                taken = min(vacant.get(pool.name, 0), math.ceil(left / each))
                vacant[pool.name] = vacant.get(pool.name, 0) - taken
                left = max(0, left - taken * each)
    return tuple(replace(target, vacant=vacant[target.pool]) for target in targets)


def _fits(group: WorkerGroup, pool: NodePool) -> bool:
    return (
        group.accelerator == pool.accelerator
        and group.gpus_per_worker <= pool.gpus_per_node
        and (not group.node_pools or pool.name in group.node_pools)
    )
