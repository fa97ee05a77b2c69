"""What came of a decision, as later records tell it."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.plan import Action, Decision, Order, OrderStatus, OutcomeStatus
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.snapshot import Snapshot
from controller.explain.wording import duration, moment, plural

_MAY_HAVE_ACTED = frozenset({OutcomeStatus.APPLIED, OutcomeStatus.FAILED, OutcomeStatus.PENDING})


def aftermath(record: TickRecord, entry: DeploymentRecord, later: Sequence[TickRecord]) -> str | None:
    """Say what came of a decision in one sentence; None where there was nothing to wait for.

    ``later`` are the following records of the same deployment, oldest first.
    """
    decision, outcome = entry.decision, entry.outcome
    if decision.desired is None or decision.action is Action.NONE or outcome.status not in _MAY_HAVE_ACTED:
        return None
    seen = [(tick.at - record.at, snapshot) for tick in later if (snapshot := _snapshot(tick, entry))]
    if outcome.status is not OutcomeStatus.APPLIED:
        return _found(decision.desired, seen)
    if decision.current is not None and decision.desired < decision.current:
        return _given_back(decision.desired, seen)
    order = _order(record, decision, later)
    return _arrival(order, later) if order else _ready(decision.desired, seen)


def _order(record: TickRecord, decision: Decision, later: Sequence[TickRecord]) -> Order | None:
    """Find the order this decision placed, as the newest record that still lists it has it."""
    for tick in (*reversed(later), record):
        for order in tick.ledger:
            if order.id == decision.id and order.ordered_at == record.at and order.to_replicas == decision.desired:
                return order
    return None


def _arrival(order: Order, later: Sequence[TickRecord]) -> str:
    due_s = order.deadline - order.ordered_at
    took_s = (order.closed_at if order.closed_at is not None else order.ordered_at) - order.ordered_at
    if order.status is OrderStatus.ARRIVED:
        when = "late" if took_s > due_s else "in time"
        arrived = f"{plural(order.to_replicas, 'replica')} ready {duration(took_s)} after the order"
        return f"{arrived}, {when} (due within {duration(due_s)})"
    if order.status is OrderStatus.CANCELLED:
        return f"the order was cancelled after {duration(took_s)}, before it arrived"
    if not later:
        return f"ordered, no later record yet (due {moment(order.deadline)})"
    waited_s = later[-1].at - order.ordered_at
    state = "late: still" if order.status is OrderStatus.LATE else "on its way:"
    return f"{state} not ready {duration(waited_s)} after the order (due {moment(order.deadline)})"


def _ready(desired: int, seen: Sequence[tuple[float, Snapshot]]) -> str:
    for after_s, snapshot in seen:
        if snapshot.replicas is not None and snapshot.replicas.ready >= desired:
            return f"{plural(desired, 'replica')} ready {duration(after_s)} later"
    return _waiting(desired, seen)


def _given_back(desired: int, seen: Sequence[tuple[float, Snapshot]]) -> str:
    for after_s, snapshot in seen:
        counts = snapshot.replicas
        if counts is not None and counts.ready <= desired and counts.stopping == 0:
            return f"down to {plural(counts.ready, 'replica')} {duration(after_s)} later"
    return _waiting(desired, seen)


def _waiting(desired: int, seen: Sequence[tuple[float, Snapshot]]) -> str:
    if not seen:
        return "no later record yet"
    after_s, snapshot = seen[-1]
    counts = snapshot.replicas
    found = f"{counts.ready} ready, {counts.starting} starting, {counts.stopping} stopping" if counts else "unknown"
    return f"{plural(desired, 'replica')} not reached {duration(after_s)} later: {found}"


def _found(desired: int, seen: Sequence[tuple[float, Snapshot]]) -> str:
    for after_s, snapshot in seen:
        if snapshot.target_replicas is not None:
            verdict = "it took effect" if snapshot.target_replicas == desired else "it did not take effect"
            return f"target found at {snapshot.target_replicas} {duration(after_s)} later: {verdict}"
    return "no later record tells whether it took effect"


def _snapshot(tick: TickRecord, entry: DeploymentRecord) -> Snapshot | None:
    return next((other.snapshot for other in tick.deployments if other.decision.id == entry.decision.id), None)
