"""report.html: one file with everything in it, readable without scripts and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from controller.domain.signals import Signal
from controller.report.model import DeploymentReport, Report
from controller.report.templates import assets, templates

_REPORT = TypeAdapter(Report)
_MOST_ROWS = 40
_MOST_POINTS = 2000
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_HUNDRED = 100.0
_SIGNAL_NAMES = {
    Signal.ONGOING_REQUESTS: "requests in flight",
    Signal.REQUESTS: "requests per second",
    Signal.PREFILL_TOKENS: "prompt tokens per second",
    Signal.DECODE_TOKENS: "output tokens per second",
    Signal.WORK: "work, in full replicas",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure. ``mood`` is ``good``, ``bad`` or empty."""

    label: str
    figure: str
    note: str = ""
    mood: str = ""


def render_page(report: Report) -> str:
    """The whole page as text."""
    environment = templates()
    environment.filters.update(
        clock=clock,
        day=day,
        since=lambda at: since(at - report.started_at),
        span=span,
        figure=figure,
        words=words,
    )
    return environment.get_template("page.html").render(
        report=report,
        data=chart_data(report),
        tiles=tiles(report),
        signal_names={signal.value: name for signal, name in _SIGNAL_NAMES.items()},
        thinned={deployment.id: thinned(deployment) for deployment in report.deployments},
        style=assets(["page.css", "vendor/uPlot.min.css"]),
        library=assets(["vendor/uPlot.iife.min.js"]),
        script=assets(["charts.js"]),
    )


def tiles(report: Report) -> list[Tile]:
    """The figures a reader wants first."""
    result: list[Tile] = []
    if report.traffic is not None:
        summary = report.traffic.summary
        lost = summary.failed + summary.dropped
        result.append(
            Tile(
                "Requests completed",
                f"{summary.completed:,}",
                f"of {summary.sent + summary.dropped:,}; {lost:,} failed" if lost else "every one",
                "bad" if lost else "good",
            )
        )
        result.append(_objective("Time to first token, p95", summary.ttft_from_schedule.p95, report, "ttft_s"))
        result.append(_objective("Between tokens, p95", summary.itl.p95, report, "itl_s"))
    for deployment in report.deployments:
        result.extend(_deployment_tiles(deployment, named=len(report.deployments) > 1))
    if report.tick_seconds is not None:
        result.append(
            Tile(
                "Tick, p99",
                span(report.tick_seconds.p99),
                f"{report.ticks:,} ticks, p50 {span(report.tick_seconds.p50)}",
            )
        )
    return result


def thinned(deployment: DeploymentReport, most: int = _MOST_ROWS) -> Sequence[int]:
    """Ticks to show where not all can be shown: about ``most`` evenly spread, and each one with a decision."""
    count = len(deployment.at)
    spread = range(0, count, max(1, -(-count // most)))
    decided = {decision.at for decision in deployment.decisions[:most]}
    return sorted({*spread, *(index for index, at in enumerate(deployment.at) if at in decided)})


def chart_data(report: Report) -> dict[str, Any]:
    """The report for the charts: as in report.json, with no more points than a screen can show."""
    data: dict[str, Any] = _REPORT.dump_python(report, mode="json")
    for deployment, plain in zip(report.deployments, data["deployments"], strict=True):
        if len(deployment.at) > _MOST_POINTS:
            indexes = thinned(deployment, _MOST_POINTS)
            for series in (plain, *plain["signals"]):
                parallel = [name for name, values in series.items() if _is_series(values, len(deployment.at))]
                series.update({name: [series[name][index] for index in indexes] for name in parallel})
    return data


def _is_series(values: object, length: int) -> bool:
    return isinstance(values, list) and len(values) == length


def clock(at: float) -> str:
    """Time of day in UTC."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%H:%M:%S")


def day(at: float) -> str:
    """Date in UTC: ``21 September 2026``."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%d %B %Y").lstrip("0")


def since(seconds: float) -> str:
    """Time from the start: ``+0:45``, ``+1:02:03``."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"+{hours}:{minutes:02d}:{rest:02d}" if hours else f"+{minutes}:{rest:02d}"


def span(seconds: float | None) -> str:
    """A duration: ``42 ms``, ``1.3 s``, ``4 min 30 s``, ``2 h 5 min``."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:.0f} min"


def figure(value: float | None) -> str:
    """A number with two or three digits that count; unknown is not zero."""
    if value is None:
        return "unknown"
    if value == int(value) or abs(value) >= _HUNDRED:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def words(name: str) -> str:
    """``scale_up`` as people write it."""
    return name.replace("_", " ")


def _objective(label: str, seconds: float | None, report: Report, objective: str) -> Tile:
    limits = [getattr(deployment.terms, objective) for deployment in report.deployments if deployment.terms is not None]
    if seconds is None:
        return Tile(label, "unknown", "at the client")
    if not limits:
        return Tile(label, span(seconds), "at the client")
    limit = min(limits)
    return Tile(label, span(seconds), f"at the client; objective {span(limit)}", "good" if seconds <= limit else "bad")


def _deployment_tiles(deployment: DeploymentReport, *, named: bool) -> list[Tile]:
    name = f", {deployment.id}" if named else ""
    targets = [target for target in deployment.target if target is not None]
    count = len(deployment.decisions)
    changes = "changed once" if count == 1 else f"changed {count} times"
    result = [
        Tile(
            f"Target replicas{name}",
            f"{min(targets)} to {max(targets)}" if targets else "unknown",
            f"{changes}; {deployment.replica_seconds / _HOUR_S:.2g} replica-hours",
        )
    ]
    judged = sum(signal.judged for signal in deployment.signals)
    if judged:
        held = sum(signal.held for signal in deployment.signals)
        result.append(
            Tile(f"Forecast p90 held{name}", f"{held / judged:.0%}", f"{held} of {judged} forecasts; 90% is promised")
        )
    return result
