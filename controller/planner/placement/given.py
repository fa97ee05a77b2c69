"""What a plan of the cluster rests on, gathered from the policy, the ledger and the nodes that were listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.domain.nodes import Node
from controller.domain.placement import ClusterInput, ReplicaDemand
from controller.domain.supply import SupplyLedger
from controller.planner.supply.leads import pool_leads
from controller.planner.supply.standing import coming_nodes
from controller.planner.supply.verdicts import verdicts
from controller.policy.cluster import ClusterPolicy


def cluster_input(
    policy: ClusterPolicy,
    demands: Iterable[ReplicaDemand],
    nodes: Sequence[Node] | None,
    ledger: SupplyLedger,
    *,
    interval_s: float,
    now: float,
) -> ClusterInput:
    """Put together one plan's input; ``nodes`` is None when they could not be listed.

    What has been listed must be in the ledger already (``supply.news.listed``), or a node that has come counts
    as coming, too.
    """
    assumed_s = {pool.name: pool.assumed_lead_s for pool in policy.node_pools}
    return ClusterInput(
        demands=tuple(demands),
        pools=tuple(pool.pool for pool in policy.node_pools),
        groups=tuple(group.group for group in policy.worker_groups),
        nodes=None if nodes is None else tuple(nodes),
        leads=pool_leads(ledger, assumed_s, assumed_s=assumed_s),
        coming=coming_nodes(ledger, now=now),
        verdicts=verdicts(ledger, now=now),
        budget=policy.budget,
        interval_s=interval_s,
    )
