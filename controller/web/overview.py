"""All deployments at a glance, as the template needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.domain.approval import Proposal
from controller.domain.identity import DeploymentId
from controller.domain.plan import Conflict, OrderStatus, OutcomeStatus, Reason
from controller.domain.record import DeploymentRecord, TickRecord
from controller.explain.explanation import asked
from controller.explain.wording import plural
from controller.web.layers import cluster_troubles, layer_rows, open_orders
from controller.web.moments import Moments, sparkline
from controller.web.timeline import Timeline, Watched
from controller.web.words import path, value_of

_POINTS = 40
_MOST_CHANGES = 30
_MOST_ORDERS = 30
_MOST_PROPOSALS = 20
_JUST_NOW_S = 120.0
_WELL = frozenset({"HEALTHY", "UPSCALING", "DOWNSCALING"})
_BINDS = {Reason.AT_MAX: "at its limit", Reason.BUDGET: "short of budget", Reason.NO_DATA: "no data"}

Attention = tuple[str, str]
"""How bad it is (``bad``, ``warn`` or ``noted``), and what."""


@dataclass(frozen=True, slots=True)
class Spark:
    """Two lines on one scale: load, and ready replicas."""

    load: str
    ready: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One deployment in one line. ``unwell`` says in two words what is wrong."""

    id: DeploymentId
    unwell: str | None
    spark: Spark
    ready: int | None
    starting: int
    target: int | None
    ttft: float | None
    itl: float | None
    ttft_over: bool
    itl_over: bool
    reason: Reason


def overview(timeline: Timeline, proposals: Sequence[Proposal]) -> dict[str, Any]:
    """Build everything that ``overview.html`` shows."""
    record = timeline.record
    if record is None:
        return {}
    late = {order.id for order in record.ledger if order.status is OrderStatus.LATE}
    rows = [_row(timeline.known(name), late=name in late) for name in timeline.deployments()]
    rows.sort(key=lambda row: (row.unwell is None, row.id))
    return {
        "rows": rows,
        "totals": {
            "ready": sum(row.ready or 0 for row in rows),
            "starting": sum(row.starting for row in rows),
            "target": sum(row.target or 0 for row in rows),
            "unwell": sum(row.unwell is not None for row in rows),
        },
        "attention_items": attention(record, None),
        "waiting": waiting(proposals, None, record.at),
        **layers(record),
        "changes": timeline.changes(_MOST_CHANGES),
        "ledger": record.ledger[-_MOST_ORDERS:],
    }


def attention(record: TickRecord, only: DeploymentId | None) -> list[Attention]:
    """What is not as it should be, worst first: of one deployment, or of all."""
    found: list[Attention] = [("bad", _conflict(one)) for one in record.conflicts if only in (None, one.id)]
    found += [
        ("bad", f"{one.id}: {plural(one.to_replicas, 'replica')} ordered, not ready by the deadline")
        for one in record.ledger
        if one.status is OrderStatus.LATE and only in (None, one.id)
    ]
    found += [("noted", asked(one, record.at)) for one in record.overrides if only is None or one.covers(only)]
    for entry in record.deployments:
        if only in (None, entry.decision.id):
            found += _troubles(entry)
    if record.cluster is not None:
        found += [("warn", sentence) for sentence in cluster_troubles(record.cluster)]
    return found + [("warn", sentence) for sentence in record.degraded]


def layers(record: TickRecord) -> dict[str, Any]:
    """Nodes and workers, where the record has them."""
    if record.cluster is None:
        return {"layer_rows": [], "standings": []}
    return {"layer_rows": layer_rows(record.cluster), "standings": open_orders(record.cluster)}


def waiting(proposals: Sequence[Proposal], only: DeploymentId | None, now: float) -> list[Proposal]:
    """Proposals that wait for a word or for the next tick, and those that were answered just now."""
    found = [one for one in proposals if only in (None, one.deployment)]
    return [one for one in found if one.status.waits or _just_answered(one, now)][:_MOST_PROPOSALS]


def _just_answered(one: Proposal, now: float) -> bool:
    return bool(one.decided_by) and now - (one.decided_at or 0.0) < _JUST_NOW_S


def well(entry: DeploymentRecord) -> bool:
    """Whether Serve says that the deployment is as it should be."""
    return entry.snapshot.status in _WELL


def _conflict(one: Conflict) -> str:
    cause = one.cause.replace("_", " ")
    return f"{one.id}: the target was set to {one.expected} and is found at {one.found} ({cause})"


def _troubles(entry: DeploymentRecord) -> list[Attention]:
    name, outcome = entry.decision.id, entry.outcome
    found: list[Attention] = []
    if not well(entry):
        found.append(("bad", f"{name}: Serve says {entry.snapshot.status.replace('_', ' ').lower()}"))
    if outcome.status in (OutcomeStatus.FAILED, OutcomeStatus.REFUSED):
        found.append(("bad", f"{name}: {outcome.status.value}: {outcome.detail}"))
    if entry.snapshot.blind_spots:
        found.append(("warn", f"{name}: nothing is lowered while blind to {', '.join(entry.snapshot.blind_spots)}"))
    if entry.decision.binding is Reason.AT_MAX:
        found.append(("warn", f"{name}: wants more replicas than limits.max_replicas allows"))
    untrusted = sorted({one.signal.value.replace("_", " ") for one in entry.standings if not one.trusted})
    if untrusted:
        found.append(("warn", f"{name}: the forecast of {', '.join(untrusted)} has lost its trust"))
    return found


def _row(known: Watched, *, late: bool) -> Row:
    entry = known.entry
    snapshot, terms = entry.snapshot, entry.terms
    ttft, itl = value_of(snapshot.latency.ttft_p95_s), value_of(snapshot.latency.itl_p95_s)
    ttft_over = terms is not None and ttft is not None and ttft > terms.ttft_s
    itl_over = terms is not None and itl is not None and itl > terms.itl_s
    return Row(
        id=entry.decision.id,
        unwell=_unwell(entry, late=late, over=ttft_over or itl_over),
        spark=_spark(known.moments),
        ready=None if snapshot.replicas is None else snapshot.replicas.ready,
        starting=0 if snapshot.replicas is None else snapshot.replicas.starting,
        target=snapshot.target_replicas,
        ttft=ttft,
        itl=itl,
        ttft_over=ttft_over,
        itl_over=itl_over,
        reason=entry.decision.binding,
    )


def _unwell(entry: DeploymentRecord, *, late: bool, over: bool) -> str | None:
    signs: Sequence[tuple[bool, str]] = (
        (not well(entry), entry.snapshot.status.replace("_", " ").lower()),
        (entry.outcome.status is OutcomeStatus.FAILED, "not applied"),
        (late, "capacity late"),
        (bool(entry.snapshot.blind_spots), "blind"),
        (over, "over objective"),
        (entry.decision.binding in _BINDS, _BINDS.get(entry.decision.binding, "")),
    )
    return next((words for holds, words in signs if holds), None)


def _spark(moments: Moments) -> Spark:
    load, ready = sparkline(moments.column("load"), _POINTS), sparkline(moments.column("ready"), _POINTS)
    top = max([1.0, *(value for value in (*load, *ready) if value is not None)])
    return Spark(
        load=path(load, top=top, width=120, height=26),
        ready=path(ready, top=top, width=120, height=26),
    )
