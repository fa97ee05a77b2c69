"""News for the ledger: from nodes that were listed, and from a plan that is acted on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.domain.layer import Layer
from controller.domain.nodes import Node
from controller.domain.placement import ClusterPlan, PoolLeads, PoolTarget
from controller.domain.supply import Milestone, Reached, Sighted, SupplyEvent, SupplyLedger, SupplyOrder
from controller.domain.workers import Worker
from controller.planner.supply.standing import coming_nodes


def node_uid(node: Node) -> str:
    """Tell a node from a later one of the same name, as reclaimed ones come back with."""
    return f"{node.name}@{node.since:.0f}"


def listed(ledger: SupplyLedger, nodes: Iterable[Node], *, now: float) -> tuple[SupplyEvent, ...]:
    """Return what a complete list of nodes tells: what is there, since when, and what is gone."""
    events: list[SupplyEvent] = []
    there: set[tuple[Layer, str]] = set()
    for node in nodes:
        there.add((Layer.NODE, node_uid(node)))
        events += _of_node(node, now)
        for worker in node.workers:
            there.add((Layer.WORKER, worker.name))
            events += _of_worker(worker, node, now)
    for unit in ledger.units:
        if unit.layer is not Layer.REPLICA and not unit.gone and (unit.layer, unit.uid) not in there:
            events.append(Sighted(layer=unit.layer, key=unit.key, uid=unit.uid, pool=unit.pool, at=now, gone=True))
    return tuple(events)


def ordered_nodes(
    plan: ClusterPlan, ledger: SupplyLedger, leads: Iterable[PoolLeads], *, now: float
) -> tuple[SupplyOrder, ...]:
    """Return the orders that a plan places once it is acted on: more nodes, or fewer of those that are coming."""
    node_leads = {lead.pool: lead.node for lead in leads}
    coming: dict[str, int] = {}
    for one in coming_nodes(ledger, now=now):
        coming[one.pool] = coming.get(one.pool, 0) + one.nodes
    return tuple(
        SupplyOrder(
            layer=Layer.NODE,
            key=target.pool,
            ordered_at=now,
            target=target.nodes,
            count=_change(target, coming),
            expected_at=now + node_leads[target.pool].p90_s,
            deadline=now + node_leads[target.pool].p95_s,
        )
        for target in plan.pools
        if _change(target, coming) != 0
    )


def _change(target: PoolTarget, coming: dict[str, int]) -> int:
    """Nodes more than were coming, or fewer."""
    return target.new + target.coming - coming.get(target.pool, 0)


def _of_node(node: Node, now: float) -> Iterator[SupplyEvent]:
    uid = node_uid(node)
    yield Sighted(layer=Layer.NODE, key=node.pool, uid=uid, pool=node.pool, at=now)
    times = {Milestone.NODE_CREATED: node.since, Milestone.NODE_READY: node.ready_at}
    for milestone, at in times.items():
        if at is not None:
            yield Reached(layer=Layer.NODE, key=node.pool, uid=uid, pool=node.pool, milestone=milestone, at=at)


def _of_worker(worker: Worker, node: Node, now: float) -> Iterator[SupplyEvent]:
    yield Sighted(layer=Layer.WORKER, key=worker.group, uid=worker.name, pool=node.pool, at=now)
    times = {
        Milestone.POD_CREATED: worker.created_at,
        Milestone.POD_SCHEDULED: worker.since,
        Milestone.IMAGE_PULLED: worker.image_pulled_at,
        Milestone.WORKER_READY: worker.ready_at,
    }
    for milestone, at in times.items():
        if at is not None:
            yield Reached(
                layer=Layer.WORKER,
                key=worker.group,
                uid=worker.name,
                pool=node.pool,
                milestone=milestone,
                at=at,
                parent=node_uid(node),
            )
