"""What a pool's bounds or size should be set to, and whether they may be touched. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.domain.cluster import LayerStep, PoolFound
from controller.domain.nodes import Node
from controller.domain.pools import NodePool, PoolBounds, PoolStatus, TotalBounds, ZoneBounds
from controller.policy.cluster import FloorOf

_TOUCHABLE = {PoolStatus.RUNNING, PoolStatus.RUNNING_WITH_ERROR}


@dataclass(frozen=True, slots=True)
class SetBounds:
    """Set the bounds of an autoscaled pool. ``left`` nodes of the plan are left to pending pods."""

    bounds: PoolBounds
    left: int = 0

    @property
    def text(self) -> str:
        """For people."""
        return bounds_text(self.bounds)


@dataclass(frozen=True, slots=True)
class SetSize:
    """Set the nodes in each zone of a pool that has no autoscaling."""

    per_zone: int
    zones: int

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.per_zone} nodes" if self.zones == 1 else f"{self.per_zone} nodes in each of {self.zones} zones"


Lever = SetBounds | SetSize


def untouchable(pool: PoolFound) -> str | None:
    """Say why a pool must not be touched now; None when it may."""
    if pool.operation is not None:
        return f"operation {pool.operation} is in flight on the cluster"
    if pool.status not in _TOUCHABLE:
        return f"the pool is {pool.status.value.replace('_', ' ')}"
    return None


def changed(found: PoolFound, live: PoolFound) -> str | None:
    """Say what is not as it was when the plan was made; None when all that matters is."""
    if found.autoscaled != live.autoscaled:
        return f"autoscaling was turned {'on' if live.autoscaled else 'off'} since the plan was made"
    if found.bounds != live.bounds:
        return f"bounds were {bounds_text(found.bounds)} when the plan was made and are {bounds_text(live.bounds)}"
    if found.zones != live.zones:
        return f"zones were {', '.join(found.zones)} when the plan was made and are {', '.join(live.zones)}"
    return None


def lever_for(step: LayerStep, pool: NodePool, live: PoolFound, floor: FloorOf) -> Lever | str:
    """Choose the lever that the owner of the pool's size honours; a sentence where there is none.

    Rounding never asks for more than the plan: bounds and sizes by zone are rounded down.
    """
    if step.wanted > pool.max_nodes:
        return f"the policy allows at most {pool.max_nodes} nodes of {pool.name}"
    if not live.autoscaled:
        return _size(step, live)
    wanted = max(step.wanted, pool.min_nodes) if floor is FloorOf.PLAN else pool.min_nodes
    if isinstance(pool.bounds, TotalBounds) and isinstance(live.bounds, TotalBounds):
        return SetBounds(TotalBounds(wanted, pool.bounds.max_nodes))
    if isinstance(pool.bounds, ZoneBounds) and isinstance(live.bounds, ZoneBounds):
        per_zone, left = divmod(wanted, max(1, len(live.zones)))
        return SetBounds(ZoneBounds(per_zone, pool.bounds.max_nodes_per_zone), left)
    scopes = ("zone", "total") if isinstance(live.bounds, TotalBounds) else ("total", "zone")
    return "the policy counts {0} and the pool's autoscaling {1}; set bounds.scope of {2} to {1} in the policy".format(
        *scopes, pool.name
    )


def would_remove_used(step: LayerStep, lever: SetSize, nodes: Iterable[Node] | None) -> str | None:
    """Say why a pool without autoscaling must not be made smaller: GKE picks the nodes to remove at random.

    Only a pool whose nodes hold no worker and nobody's pods is made smaller.
    """
    if nodes is None:
        return "its nodes are not known"
    present = [node for node in nodes if node.pool == step.name]
    if lever.per_zone * lever.zones >= len(present):
        return None
    used = [node.name for node in present if node.workers or node.foreign_gpus]
    if not used:
        return None
    return f"GKE removes any of its nodes, and {used[0]} is in use ({len(used)} of {len(present)} are)"


def bounds_text(bounds: PoolBounds | None) -> str:
    """Say bounds for people."""
    if bounds is None:
        return "none"
    if isinstance(bounds, TotalBounds):
        return f"{bounds.min_nodes} to {bounds.max_nodes}"
    return f"{bounds.min_nodes_per_zone} to {bounds.max_nodes_per_zone} in each zone"


def _size(step: LayerStep, live: PoolFound) -> SetSize | str:
    zones = len(live.zones)
    if zones == 0:
        return "GKE names no zones of the pool"
    per_zone = step.wanted // zones
    if step.up and per_zone * zones <= step.found:
        return (
            f"it has no autoscaling, and its {zones} zones are sized alike: {step.wanted} nodes cannot be had without "
            f"{(per_zone + 1) * zones}; turn autoscaling on, or make pools of one zone"
        )
    return SetSize(per_zone, zones)
