"""One deployment, as the template needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from controller.domain.approval import Proposal
from controller.domain.record import DeploymentRecord
from controller.explain.wording import duration, number
from controller.web.changes import sentence
from controller.web.moments import HIGH, MEDIAN, Moments, forecast_of
from controller.web.overview import attention, layers, waiting, well
from controller.web.timeline import Timeline, Watched
from controller.web.words import UNKNOWN, figure, seconds, signal_name, unit, value_of

_MOST_CHANGES = 40
_MOST_ORDERS = 12
_RECENT = 30


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure. ``mood`` is ``good``, ``bad``, ``warn`` or empty; ``share`` fills a bar, 1 is full."""

    label: str
    figure: str
    note: str = ""
    mood: str = ""
    share: float | None = None


def deployment(timeline: Timeline, known: Watched, proposals: Sequence[Proposal]) -> dict[str, Any]:
    """Build everything that ``deployment.html`` shows."""
    record, entry = timeline.record, known.entry
    if record is None:
        msg = "a deployment is known before the first record"
        raise ValueError(msg)
    name = entry.decision.id
    return {
        "id": name,
        "several": len(timeline.deployments()) > 1,
        "entry": entry,
        "decision": entry.decision,
        "counts": entry.snapshot.replicas,
        "well": well(entry),
        "why_now": sentence(entry.decision),
        "last": known.last_action,
        "attention_items": attention(record, name),
        "waiting": waiting(proposals, name, record.at),
        **layers(record),
        "tiles": tiles(known),
        "changes": list(known.changes)[: -_MOST_CHANGES - 1 : -1],
        "ledger": [order for order in record.ledger if order.id == name][-_MOST_ORDERS:],
        "signal_name": signal_name(known.moments.signal),
        "recent": _recent(known.moments),
    }


def tiles(known: Watched) -> list[Tile]:
    """Return the figures that are asked for first."""
    entry, signal = known.entry, known.moments.signal
    each, counts = entry.decision.capacity.per_replica.get(signal), entry.snapshot.replicas
    now = value_of(entry.snapshot.reading(signal))
    carried = None if each is None or counts is None else each * counts.ready
    note = f"{unit(signal)}; {figure(carried)} carried by {counts.ready}" if counts and carried else unit(signal)
    share = None if now is None or not carried else now / carried
    return [
        Tile("Demand now", figure(now), note, "bad" if share is not None and share > 1 else "", share),
        _forecast(entry, known.moments),
        _objective("TTFT p95", value_of(entry.snapshot.latency.ttft_p95_s), entry, "ttft_s"),
        _objective("ITL p95", value_of(entry.snapshot.latency.itl_p95_s), entry, "itl_s"),
        _lost(entry),
    ]


def _forecast(entry: DeploymentRecord, moments: Moments) -> Tile:
    forecast = forecast_of(entry, moments.signal)
    if forecast is None:
        return Tile("Forecast", "none", entry.decision.forecast_unavailable or "not of this signal", "warn")
    band = f"{number(forecast.quantile(MEDIAN))} \N{EN DASH} {number(forecast.quantile(HIGH))}"
    return Tile(f"Most within {duration(forecast.horizon_s)}", band, f"{unit(moments.signal)}, p50 to p90")


def _objective(label: str, value: float | None, entry: DeploymentRecord, name: str) -> Tile:
    limit = None if entry.terms is None else float(getattr(entry.terms, name))
    if limit is None:
        return Tile(label, seconds(value))
    if value is None:
        return Tile(label, UNKNOWN, f"unknown; objective {seconds(limit)}")
    return Tile(
        label, seconds(value), f"objective {seconds(limit)}", "good" if value <= limit else "bad", value / limit
    )


def _lost(entry: DeploymentRecord) -> Tile:
    errors, shed = value_of(entry.snapshot.errors_per_s), value_of(entry.snapshot.shed_per_s)
    queued = value_of(entry.snapshot.queued_requests)
    known = [one for one in (errors, shed) if one is not None]
    mood = "bad" if any(one > 0 for one in known) else ""
    total = figure(sum(known)) if known else UNKNOWN
    return Tile("Errors and shed", f"{total} /s", f"{figure(queued)} queued", mood)


def _recent(moments: Moments) -> list[dict[str, Any]]:
    columns = [
        *(moments.of_signal(moments.signal, name) for name in ("demand", "p50", "p90")),
        moments.column("ready"),
        moments.column("target"),
    ]
    times = moments.at()[: -_RECENT - 1 : -1]
    rows = zip(*(column[: -_RECENT - 1 : -1].tolist() for column in columns), strict=True)
    return [
        {"at": at, "numbers": [None if one != one else one for one in row]}  # noqa: PLR0124 - NaN
        for at, row in zip(times.tolist(), rows, strict=True)
    ]
