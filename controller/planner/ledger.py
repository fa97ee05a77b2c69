"""The pending-capacity ledger: what was ordered, when it is due, and whether it came."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from controller.domain.identity import DeploymentId
from controller.domain.plan import Decision, Order, OrderStatus
from controller.domain.snapshot import Snapshot

KEPT_S = 900.0
"""Closed orders stay visible for this long."""

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
    planned. Unknown replica counts leave it as it is, and so does a state that was not read since
    (``not_read_since``).
    """
    reviewed = (
        order if order.id in not_read_since else _review(order, snapshots.get(order.id), now) for order in orders
    )
    return in_order(order for order in reviewed if order.closed_at is None or now - order.closed_at < KEPT_S)


def ordered(decision: Decision, *, now: float) -> Order | None:
    """Return the order that an applied decision places, if it raises the target."""
    if decision.current is None or decision.desired is None or decision.desired <= decision.current:
        return None
    return Order(
        id=decision.id,
        ordered_at=now,
        from_replicas=decision.current,
        to_replicas=decision.desired,
        deadline=now + decision.lead.p95_s,
    )


def in_order(orders: Iterable[Order]) -> tuple[Order, ...]:
    """Sort by deployment, then by age, whatever order they came in."""
    return tuple(sorted(orders, key=lambda order: (order.id, order.ordered_at, order.to_replicas)))


def _review(order: Order, snapshot: Snapshot | None, now: float) -> Order:
    if order.status not in _OPEN:
        return order
    if snapshot is None or _lowered_below(order, snapshot):
        return replace(order, status=OrderStatus.CANCELLED, closed_at=now)
    if snapshot.replicas is None:
        return order
    if snapshot.replicas.ready >= order.to_replicas:
        return replace(order, status=OrderStatus.ARRIVED, closed_at=now)
    return replace(order, status=OrderStatus.LATE) if now > order.deadline else order


def _lowered_below(order: Order, snapshot: Snapshot) -> bool:
    return snapshot.target_replicas is not None and snapshot.target_replicas < order.to_replicas
