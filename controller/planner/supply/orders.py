"""What a plan that is acted on orders: nodes and workers that are to come, and those that are called off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from controller.domain.cluster import GroupFound
from controller.domain.layer import Layer
from controller.domain.placement import ClusterInput, ClusterPlan
from controller.domain.supply import SupplyLedger, SupplyOrder
from controller.planner.supply.news import ordered_nodes
from controller.planner.supply.standing import standings


def placed_orders(
    plan: ClusterPlan,
    given: ClusterInput,
    ledger: SupplyLedger,
    groups: Iterable[GroupFound],
    confirmed: Collection[tuple[Layer, str]],
    *,
    now: float,
) -> tuple[SupplyOrder, ...]:
    """Orders of the targets that were really set (``confirmed``), and of no others."""
    nodes = ordered_nodes(plan, ledger, given.leads, now=now)
    workers = _ordered_workers(plan, given, ledger, groups, now=now)
    return tuple(order for order in (*nodes, *workers) if (order.layer, order.key) in confirmed)


def _ordered_workers(
    plan: ClusterPlan, given: ClusterInput, ledger: SupplyLedger, groups: Iterable[GroupFound], *, now: float
) -> Iterator[SupplyOrder]:
    """Workers beyond those there that a group must run; pending ones are coming, whoever asked for them."""
    leads = {lead.pool: lead.worker for lead in given.leads}
    pools = {
        group.name: [
            pool.name
            for pool in given.pools
            if pool.accelerator == group.accelerator and (not group.node_pools or pool.name in group.node_pools)
        ]
        for group in given.groups
    }
    coming = Counter[str]()
    for standing in standings(ledger, now=now):
        if standing.order.layer is Layer.WORKER:
            coming[standing.order.key] += standing.coming
    known = {group.name for group in groups}
    for target in plan.groups:
        change = max(0, target.min_workers - target.present) - coming[target.group]
        if target.group not in known or change == 0 or not pools[target.group]:
            continue
        slowest = max((leads[pool] for pool in pools[target.group]), key=lambda lead: lead.p95_s)
        yield SupplyOrder(
            layer=Layer.WORKER,
            key=target.group,
            ordered_at=now,
            target=target.min_workers,
            count=change,
            expected_at=now + slowest.p90_s,
            deadline=now + slowest.p95_s,
        )
