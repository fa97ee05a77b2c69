"""The pending-capacity ledger: what was ordered, when it is due, and whether it came."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from controller.domain.identity import DeploymentId
from controller.domain.plan import Decision, Order, OrderStatus
from controller.domain.snapshot import ReplicaCounts, Snapshot

KEPT_S = 900.0
"""Closed orders stay visible for this long."""

DRAINED_WITHIN_S = 600.0
"""Replicas that hold their GPUs for longer after they were given up are late."""

_OPEN = (OrderStatus.PENDING, OrderStatus.LATE)


def review(
    orders: Iterable[Order],
    snapshots: Mapping[DeploymentId, Snapshot],
    *,
    not_read_since: Collection[DeploymentId],
    now: float,
) -> tuple[Order, ...]:
    """Bring every order up to date and drop those closed for 15 minutes.

    An order has arrived once as many replicas are ready as it was to reach, is late past its deadline
    but stays open, and is cancelled when the target is lowered below it or its deployment is no longer
    planned. What was given back has arrived once it has drained, and is cancelled when the target is raised.
    Unknown replica counts leave an order as it is, and so does a state that was not read since
    (``not_read_since``).
    """
    reviewed = (
        order if order.id in not_read_since else _review(order, snapshots.get(order.id), now) for order in orders
    )
    return in_order(order for order in reviewed if order.closed_at is None or now - order.closed_at < KEPT_S)


def ordered(decision: Decision, *, now: float) -> Order | None:
    """Return the order that an applied decision places, if it changes the target."""
    if decision.current is None or decision.desired is None or decision.desired == decision.current:
        return None
    within_s = decision.lead.p95_s if decision.desired > decision.current else DRAINED_WITHIN_S
    return Order(
        id=decision.id,
        ordered_at=now,
        from_replicas=decision.current,
        to_replicas=decision.desired,
        deadline=now + within_s,
    )


def in_order(orders: Iterable[Order]) -> tuple[Order, ...]:
    """Sort by deployment, then by age, whatever order they came in."""
    return tuple(sorted(orders, key=lambda order: (order.id, order.ordered_at, order.to_replicas)))


def _review(order: Order, snapshot: Snapshot | None, now: float) -> Order:
    if order.status not in _OPEN:
        return order
    if snapshot is None or _overtaken(order, snapshot):
        return replace(order, status=OrderStatus.CANCELLED, closed_at=now)
    if snapshot.replicas is None:
        return order
    if _is_fulfilled(order, snapshot.replicas):
        return replace(order, status=OrderStatus.ARRIVED, closed_at=now)
    return replace(order, status=OrderStatus.LATE) if now > order.deadline else order


def _overtaken(order: Order, snapshot: Snapshot) -> bool:
    target = snapshot.target_replicas
    if target is None:
        return False
    return target > order.to_replicas if order.gives_back else target < order.to_replicas


def _is_fulfilled(order: Order, counts: ReplicaCounts) -> bool:
    if order.gives_back:
        return counts.ready + counts.starting <= order.to_replicas and counts.stopping == 0
    return counts.ready >= order.to_replicas
