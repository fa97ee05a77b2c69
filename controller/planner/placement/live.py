"""The policy's node pools as they may be used now: within what the cloud says of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.domain.cluster import PoolFound
from controller.domain.pools import NodePool, PoolBounds, TotalBounds, ZoneBounds


@dataclass(frozen=True, slots=True)
class LivePools:
    """Pools to plan with, and what of them is not as the policy says, in sentences."""

    pools: tuple[NodePool, ...]
    problems: tuple[str, ...] = ()


def live_pools(policy: Iterable[NodePool], found: Iterable[PoolFound] | None) -> LivePools:
    """Cap the policy's pools by the live bounds, and take over their status; None where nothing was read of them.

    A pool that the cloud does not have gets no nodes. A larger live maximum is not used: the policy's is the limit.
    """
    if found is None:
        return LivePools(tuple(policy))
    seen = {pool.name: pool for pool in found}
    pools: list[NodePool] = []
    problems: list[str] = []
    for pool in policy:
        live = seen.get(pool.name)
        if live is None:
            pools.append(replace(pool, bounds=TotalBounds(0, 0)))
            problems.append(f"the cluster has no node pool {pool.name}; create it, or take it out of the policy")
            continue
        pools.append(replace(pool, status=live.status, bounds=_capped(pool, live)))
        problems += _differences(pool, live)
    return LivePools(tuple(pools), tuple(problems))


def _capped(pool: NodePool, live: PoolFound) -> PoolBounds:
    """The tighter of both maxima; where one counts zones and the other all, what both allow in total."""
    if not live.autoscaled or live.bounds is None:
        return pool.bounds
    if isinstance(pool.bounds, ZoneBounds) and isinstance(live.bounds, ZoneBounds):
        most = min(pool.bounds.max_nodes_per_zone, live.bounds.max_nodes_per_zone)
        return ZoneBounds(min(pool.bounds.min_nodes_per_zone, most), most)
    if isinstance(live.bounds, TotalBounds):
        live_most = live.bounds.max_nodes
    else:
        live_most = live.bounds.max_nodes_per_zone * len(live.zones)
    most = min(pool.max_nodes, live_most)
    return TotalBounds(min(pool.min_nodes, most), most)


def _differences(pool: NodePool, live: PoolFound) -> Iterable[str]:
    if live.accelerator is not None and live.accelerator != pool.accelerator:
        yield f"node pool {pool.name} has {live.accelerator}, the policy says {pool.accelerator}; correct the policy"
    if live.gpus_per_node is not None and live.gpus_per_node != pool.gpus_per_node:
        yield (
            f"nodes of {pool.name} have {live.gpus_per_node} GPUs, the policy says {pool.gpus_per_node}; "
            "correct the policy"
        )
