"""What a plan of the cluster rests on, gathered from the policy, the ledger and the nodes that were listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.domain.nodes import Node
from controller.domain.placement import Budget, ClusterInput, ReplicaDemand
from controller.domain.pools import NodePool
from controller.domain.supply import SupplyLedger
from controller.planner.supply.leads import pool_leads
from controller.planner.supply.standing import coming_nodes
from controller.planner.supply.verdicts import verdicts
from controller.policy.cluster import ClusterPolicy, FloorOf, WarmCapacity

_NO_BUDGET = Budget()


def cluster_input(
    policy: ClusterPolicy,
    demands: Iterable[ReplicaDemand],
    nodes: Sequence[Node] | None,
    ledger: SupplyLedger,
    *,
    pools: Sequence[NodePool] | None = None,
    budget: Budget = _NO_BUDGET,
    interval_s: float,
    now: float,
) -> ClusterInput:
    """Put together one plan's input; ``nodes`` is None when they could not be listed.

    ``pools`` are the policy's as they may be used now (``live.live_pools``); without them, as the policy says.
    ``budget`` bounds all nodes together.

    What has been listed must be in the ledger already (``supply.news.listed``), or a node that has come counts
    as coming, too.
    """
    raises_floors = policy.gke is not None and policy.gke.floor is FloorOf.PLAN
    assumed_s = {pool.name: pool.assumed_lead_s for pool in policy.node_pools}
    return ClusterInput(
        demands=tuple(demands),
        pools=tuple(pool.pool for pool in policy.node_pools) if pools is None else tuple(pools),
        groups=tuple(group.group for group in policy.worker_groups),
        nodes=None if nodes is None else tuple(nodes),
        leads=pool_leads(ledger, assumed_s, assumed_s=assumed_s),
        coming=coming_nodes(ledger, now=now),
        verdicts=verdicts(ledger, now=now),
        budget=budget,
        interval_s=interval_s,
        nodes_follow=policy.warm_capacity is WarmCapacity.OFF and not raises_floors,
    )
