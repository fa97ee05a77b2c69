"""One deployment's panel of the live view."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from controller.domain.plan import Order, OrderStatus
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.record import DeploymentRecord
from controller.domain.signals import Signal
from controller.live.draw import gauge, replica_boxes, sparkline
from controller.live.state import Change, Moment, need, sizing_signals
from controller.live.words import SIGNAL_NAMES, clock_time, duration, number, reading, why
from controller.policy.model import DeploymentPolicy

_LABEL_WIDTH = 9
_GAUGE_WIDTH = 10
_SPARK_TAIL = 22
_LOW, _HIGH = 0.5, 0.9


def deployment_panel(
    record: DeploymentRecord,
    *,
    at: float,
    moments: Sequence[Moment],
    change: Change | None,
    orders: Sequence[Order],
    client_p95_s: tuple[float | None, float | None],
    policy: DeploymentPolicy | None,
    width: int,
) -> Panel:
    """Everything about one deployment, ``width`` columns wide.

    ``client_p95_s`` are TTFT and ITL as a load generator sees them, where there is one.
    """
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_LABEL_WIDTH, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("Replicas", _replicas(record, policy))
    grid.add_row("Demand", _demand(record))
    for unknown in _unknown(record):
        grid.add_row("", unknown)
    for row in _sparklines(record, moments, width=width):
        grid.add_row(*row)
    ttft, itl = _objectives(record, policy)
    latency = record.snapshot.latency
    grid.add_row("TTFT p95", _latency(latency.ttft_p95_s, client_p95_s[0], ttft))
    grid.add_row("ITL p95", _latency(latency.itl_p95_s, client_p95_s[1], itl))
    grid.add_row("Now", _now(record))
    grid.add_row("Changed", _changed(change, at))
    for order in orders:
        grid.add_row("Ordered", _order(order, at))
    if record.snapshot.blind_spots:
        blind = f"nothing is lowered while missing: {', '.join(record.snapshot.blind_spots)}"
        grid.add_row("Blind", Text(blind, style="yellow"))
    status = record.snapshot.status
    return Panel(
        Group(grid),
        title=Text.assemble((str(record.snapshot.id), "bold"), " · ", (status, "green" if _well(status) else "red")),
        title_align="left",
        box=box.ROUNDED,
        border_style="cyan",
        width=width,
    )


def _well(status: str) -> bool:
    return status in {"HEALTHY", "UPSCALING", "DOWNSCALING"}


def _replicas(record: DeploymentRecord, policy: DeploymentPolicy | None) -> Text:
    counts, target = record.snapshot.replicas, record.snapshot.target_replicas
    if counts is None or target is None:
        return Text("unknown: Serve did not answer", style="yellow")
    least, most = _bounds(record, policy)
    text = replica_boxes(ready=counts.ready, starting=counts.starting, most=max(most or 0, target))
    text.append(f"  {counts.ready} ready", style="green")
    if counts.starting:
        text.append(f" · {counts.starting} starting", style="yellow")
    if counts.stopping:
        text.append(f" · {counts.stopping} stopping", style="dim")
    text.append(f" · target {target}", style="bold")
    if most is not None:
        text.append(f" of {least} to {most}", style="dim")
    return text


def _demand(record: DeploymentRecord) -> Table:
    """One line per signal the deployment is sized by: now, forecast band, what ready replicas carry."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    forecasts = record.decision.forecasts
    ahead = f"within {duration(forecasts[0].horizon_s)}, p50-p90" if forecasts else "forecast"
    for header in ("now", "", ahead, "carried"):
        table.add_column(header, justify="right" if header == "now" else "left", no_wrap=True)
    for signal in sizing_signals(record):
        now = record.snapshot.reading(signal)
        value = Text(reading(now), style="bold" if isinstance(now, Known) else "yellow")
        table.add_row(value, SIGNAL_NAMES[signal], _band(record, signal), _carried(record, signal))
    return table


def _unknown(record: DeploymentRecord) -> list[Text]:
    readings = [(signal, record.snapshot.reading(signal)) for signal in sizing_signals(record)]
    return [
        Text(f"{SIGNAL_NAMES[signal]} unknown: {value.reason}", style="yellow")
        for signal, value in readings
        if isinstance(value, Unknown)
    ]


def _band(record: DeploymentRecord, signal: Signal) -> Text:
    forecast = next((one for one in record.decision.forecasts if one.signal is signal), None)
    if forecast is None:
        return Text(record.decision.forecast_unavailable or "none", style="dim")
    low, high = forecast.quantile(_LOW), forecast.quantile(_HIGH)
    return Text.assemble((f"{number(low)}-{number(high)}", "magenta"), (f" {forecast.method.replace('_', ' ')}", "dim"))


def _carried(record: DeploymentRecord, signal: Signal) -> Text:
    each = record.decision.capacity.per_replica[signal]
    counts = record.snapshot.replicas
    if counts is None:
        return Text(f"{number(each)} each")
    return Text(f"{number(each * counts.ready)} by {counts.ready}")


def _sparklines(record: DeploymentRecord, moments: Sequence[Moment], *, width: int) -> list[tuple[str, Text]]:
    """Demand and target on one scale: replicas."""
    columns = width - _LABEL_WIDTH - _SPARK_TAIL - 5
    needs = [moment.need for moment in moments]
    targets = [None if moment.target is None else float(moment.target) for moment in moments]
    top = max([1.0, *(value for value in [*needs, *targets] if value is not None)])
    now = need(record)
    worth = "unknown" if now is None else f"{number(now)} replicas' worth"
    target = record.snapshot.target_replicas
    return [
        ("Load", Text.assemble((sparkline(needs, top=top, width=columns), "magenta"), f" {worth}")),
        (
            "Target",
            Text.assemble(
                (sparkline(targets, top=top, width=columns), "cyan"), f" {'?' if target is None else target}"
            ),
        ),
    ]


def _latency(server: Reading, client_s: float | None, objective_s: float | None) -> Text:
    value = server.value if isinstance(server, Known) else client_s
    text = Text()
    if value is not None and objective_s is not None:
        text.append_text(gauge(value, objective_s, width=_GAUGE_WIDTH)).append(" ")
    if isinstance(server, Known):
        text.append(duration(server.value), style=_judged(server.value, objective_s)).append(" server")
    else:
        text.append(f"not measured ({server.reason})", style="dim")
    if client_s is not None:
        text.append(" · ").append(duration(client_s), style=_judged(client_s, objective_s)).append(" client")
    if objective_s is not None:
        text.append(f" · objective {duration(objective_s)}", style="dim")
    return text


def _judged(value_s: float, objective_s: float | None) -> str:
    return "bold red" if objective_s is not None and value_s > objective_s else "bold"


def _now(record: DeploymentRecord) -> Text:
    decision = record.decision
    if decision.desired is None:
        return Text(f"no opinion: {why(decision)}")
    return Text(f"wants {decision.desired}, {why(decision)}")


def _changed(change: Change | None, at: float) -> Text:
    if change is None:
        return Text("nothing yet", style="dim")
    decision, outcome = change.record.decision, change.record.outcome
    before = "?" if decision.current is None else decision.current
    return Text.assemble(
        (f"{before} → {decision.desired}", "bold cyan"),
        f" at {clock_time(change.at)}, {duration(at - change.at)} ago, {outcome.status.value}: {why(decision)}",
        f" ({outcome.detail})" if outcome.detail else "",
    )


def _order(order: Order, at: float) -> Text:
    text = Text(f"{order.from_replicas} → {order.to_replicas}, {duration(at - order.ordered_at)} ago, ")
    left = order.deadline - at
    if order.status is OrderStatus.LATE or left < 0:
        return text.append(f"late by {duration(-left)}", style="red")
    return text.append(f"due within {duration(left)}", style="yellow")


def _bounds(record: DeploymentRecord, policy: DeploymentPolicy | None) -> tuple[int | None, int | None]:
    if record.terms is not None:
        return record.terms.min_replicas, record.terms.max_replicas
    return (None, None) if policy is None else (policy.limits.min_replicas, policy.limits.max_replicas)


def _objectives(record: DeploymentRecord, policy: DeploymentPolicy | None) -> tuple[float | None, float | None]:
    if record.terms is not None:
        return record.terms.ttft_s, record.terms.itl_s
    return (None, None) if policy is None else (policy.objectives.ttft_s, policy.objectives.itl_s)
