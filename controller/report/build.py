"""From the records of a run, and the load that made it, to a report."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from controller.domain.plan import Order
from controller.domain.record import TickRecord
from controller.domain.scrape import SourceHealth
from controller.load.result import LoadResult
from controller.report.deployments import deployment_report
from controller.report.model import NoteRow, OrderRow, Report, SourceRow, TickSeconds
from controller.report.traffic import traffic_report


def build_report(records: Sequence[TickRecord], load: LoadResult | None, *, title: str) -> Report:
    """Put a report together. Records may be in any order; without any the report says so."""
    ordered = sorted(records, key=lambda record: record.at)
    ids = sorted({row.snapshot.id for record in ordered for row in record.deployments})
    traffic = None if load is None else traffic_report(load)
    starts = [record.at for record in ordered[:1]] + ([traffic.series.at[0]] if traffic else [])
    ends = [record.at for record in ordered[-1:]] + ([traffic.series.at[-1]] if traffic else [])
    return Report(
        title=title,
        foreserve=_version(),
        started_at=min(starts, default=0.0),
        ended_at=max(ends, default=0.0),
        modes=tuple(dict.fromkeys(record.mode for record in ordered)),
        policy_versions=tuple(dict.fromkeys(record.policy_version for record in ordered)),
        ticks=len(ordered),
        tick_seconds=_tick_seconds(ordered),
        deployments=tuple(deployment_report(one, ordered) for one in ids),
        ledger=_ledger(ordered),
        sources=_sources(ordered),
        notes=_notes(ordered),
        traffic=traffic,
    )


def _version() -> str:
    try:
        return version("foreserve")
    except PackageNotFoundError:
        return "unknown"


def _tick_seconds(records: Sequence[TickRecord]) -> TickSeconds | None:
    totals = [sum(seconds for _, seconds in record.step_seconds) for record in records if record.step_seconds]
    if not totals:
        return None
    steps: dict[str, list[float]] = {}
    for record in records:
        for name, seconds in record.step_seconds:
            steps.setdefault(name, []).append(seconds)
    return TickSeconds(
        p50=float(np.quantile(totals, 0.5)),
        p99=float(np.quantile(totals, 0.99)),
        most=max(totals),
        steps_p50={name: float(np.quantile(seconds, 0.5)) for name, seconds in steps.items()},
    )


def _ledger(records: Sequence[TickRecord]) -> tuple[OrderRow, ...]:
    """Each order once, as it was last seen."""
    latest: dict[tuple[str, float], Order] = {
        (str(order.id), order.ordered_at): order for record in records for order in record.ledger
    }
    return tuple(
        OrderRow(
            id=str(order.id),
            ordered_at=order.ordered_at,
            from_replicas=order.from_replicas,
            to_replicas=order.to_replicas,
            deadline=order.deadline,
            status=order.status.value,
            closed_at=order.closed_at,
        )
        for _, order in sorted(latest.items(), key=lambda item: (item[1].ordered_at, item[0]))
    )


def _sources(records: Sequence[TickRecord]) -> tuple[SourceRow, ...]:
    seen: dict[str, list[SourceHealth]] = {}
    for record in records:
        for source in record.sources:
            seen.setdefault(source.source, []).append(source)
    return tuple(
        SourceRow(
            source=name,
            kind=healths[-1].kind.value,
            ticks=len(healths),
            stale_ticks=sum(health.stale for health in healths),
            worst_age_s=max((health.age_s for health in healths if health.age_s is not None), default=None),
            last_error=next((health.error for health in reversed(healths) if health.error), None),
        )
        for name, healths in sorted(seen.items())
    )


def _notes(records: Sequence[TickRecord]) -> tuple[NoteRow, ...]:
    """Degraded states and conflicts, each text once, in order of their first time."""
    times: dict[str, list[float]] = {}
    for record in records:
        conflicts = [
            f"{conflict.id}: {conflict.expected} was set, {conflict.found} was found"
            f" ({conflict.cause.replace('_', ' ')})"
            for conflict in record.conflicts
        ]
        for text in (*record.degraded, *conflicts):
            times.setdefault(text, []).append(record.at)
    return tuple(NoteRow(text=text, first_at=at[0], last_at=at[-1], ticks=len(at)) for text, at in times.items())
