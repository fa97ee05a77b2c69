"""Builders of news about nodes, workers and replicas on their way."""

from __future__ import annotations

from controller.domain.layer import Layer
from controller.domain.pools import VerdictKind
from controller.domain.supply import Milestone, Reached, Refusal, Sighted, SupplyLedger, SupplyOrder
from controller.planner.supply.ledger import note
from tests.cluster import NOW

LEAD_S, LATE_S = 200.0, 220.0


def order(count: int = 2, at: float = 0.0, pool: str = "l4", *, lead_s: float = LEAD_S) -> SupplyOrder:
    """So many more nodes of a pool, ordered so many seconds after NOW, due 200 s later and late after 220 s."""
    return SupplyOrder(
        layer=Layer.NODE,
        key=pool,
        ordered_at=NOW + at,
        target=max(0, count),
        count=count,
        expected_at=NOW + at + lead_s,
        deadline=NOW + at + lead_s * LATE_S / LEAD_S,
    )


def reached(uid: str, milestone: Milestone, at: float, *, layer: Layer = Layer.NODE, **fields: str) -> Reached:
    """A milestone of a node (worker, replica) of the pool l4, so many seconds after NOW."""
    named = {"key": "l4", "pool": "l4"} | fields
    return Reached(layer=layer, uid=uid, milestone=milestone, at=NOW + at, **named)


def created(uid: str, at: float, pool: str = "l4") -> Reached:
    """A node exists."""
    return reached(uid, Milestone.NODE_CREATED, at, key=pool, pool=pool)


def ready(uid: str, at: float, pool: str = "l4") -> Reached:
    """A node is ready."""
    return reached(uid, Milestone.NODE_READY, at, key=pool, pool=pool)


def gone(uid: str, at: float, pool: str = "l4") -> Sighted:
    """A node was missed."""
    return Sighted(layer=Layer.NODE, key=pool, uid=uid, pool=pool, at=NOW + at, gone=True)


def refusal(at: float, pool: str = "l4", zone: str | None = None) -> Refusal:
    """The platform has no such GPU."""
    return Refusal(pool=pool, at=NOW + at, kind=VerdictKind.STOCKED_OUT, detail="GCE_STOCKOUT", zone=zone)


def ledger(*events: SupplyOrder | Reached | Sighted | Refusal) -> SupplyLedger:
    """A ledger that has heard all this."""
    return note(SupplyLedger(), events)
