"""One deployment's part of a report, from its records."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import Signal
from controller.report.model import DecisionRow, DeploymentReport, LeadRow, StageRow, Terms
from controller.report.signals import signal_series, value


def deployment_report(deployment: DeploymentId, records: Sequence[TickRecord]) -> DeploymentReport:
    """Everything about one deployment; ``records`` are oldest first and at least one has it."""
    ticks = [(record, row) for record in records for row in record.deployments if row.snapshot.id == deployment]
    at = tuple(record.at for record, _ in ticks)
    rows = [row for _, row in ticks]
    latest = rows[-1]
    counts = [row.snapshot.replicas for row in rows]
    ready = tuple(None if one is None else one.ready for one in counts)
    starting = tuple(None if one is None else one.starting for one in counts)
    sized_by = [signal for signal in Signal if any(signal in row.decision.capacity.per_replica for row in rows)]
    return DeploymentReport(
        id=str(deployment),
        terms=_terms(latest),
        lead=_lead(rows),
        capacity_source=latest.decision.capacity.source.value,
        capacity_detail=latest.decision.capacity.detail,
        at=at,
        target=tuple(row.snapshot.target_replicas for row in rows),
        ready=ready,
        starting=starting,
        ttft_p95_s=tuple(value(row.snapshot.latency.ttft_p95_s) for row in rows),
        itl_p95_s=tuple(value(row.snapshot.latency.itl_p95_s) for row in rows),
        queued_requests=tuple(value(row.snapshot.queued_requests) for row in rows),
        errors_per_s=tuple(value(row.snapshot.errors_per_s) for row in rows),
        shed_per_s=tuple(value(row.snapshot.shed_per_s) for row in rows),
        replica_seconds=_replica_seconds(at, ready, starting),
        signals=tuple(signal_series(at, rows, signal) for signal in sized_by),
        decisions=tuple(_decision(record, row) for record, row in ticks if row.decision.action is not Action.NONE),
    )


def _terms(row: DeploymentRecord) -> Terms | None:
    terms = row.terms
    if terms is None:
        return None
    return Terms(
        min_replicas=terms.min_replicas, max_replicas=terms.max_replicas, ttft_s=terms.ttft_s, itl_s=terms.itl_s
    )


def _lead(rows: Sequence[DeploymentRecord]) -> LeadRow:
    lead = rows[-1].decision.lead
    starts = {start.replica_id: start.seconds for row in rows for start in row.snapshot.startups}
    return LeadRow(
        p50_s=lead.p50_s,
        p90_s=lead.p90_s,
        p95_s=lead.p95_s,
        source=lead.source.value,
        samples=lead.samples,
        starts_s=tuple(starts.values()),
    )


def _decision(record: TickRecord, row: DeploymentRecord) -> DecisionRow:
    decision = row.decision
    return DecisionRow(
        at=record.at,
        tick=record.tick,
        before=decision.current,
        after=decision.desired,
        action=decision.action.value,
        reason=decision.binding.value,
        sentence=_sentence(decision),
        stages=tuple(
            StageRow(stage=step.stage, replicas=step.replicas, reason=step.reason.value, detail=step.detail)
            for step in decision.steps
        ),
        outcome=row.outcome.status.value,
        outcome_detail=row.outcome.detail,
    )


def _sentence(decision: Decision) -> str:
    """The binding stage's arithmetic; the first stage that named this reason made the number."""
    named = [step.detail for step in decision.steps if step.reason is decision.binding and step.detail]
    return named[0] if named else decision.binding.value.replace("_", " ")


def _replica_seconds(at: Sequence[float], ready: Sequence[int | None], starting: Sequence[int | None]) -> float:
    """Replicas that were held, ready or starting, times how long; unknown ticks count as the one before."""
    total, held = 0.0, 0
    for index, moment in enumerate(at[:-1]):
        now_ready, now_starting = ready[index], starting[index]
        if now_ready is not None and now_starting is not None:
            held = now_ready + now_starting
        total += held * (at[index + 1] - moment)
    return total
