"""A run for the eye: one line while it runs, a table at the end."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.load.summary import LoadSummary, Quantiles
from controller.load.tick import LoadTick


def seconds(value: float | None) -> str:
    """A duration with a unit that suits it: ``4.2 ms``, ``1.30 s``; ``-`` for none."""
    if value is None:
        return "-"
    if value >= 1.0:
        return f"{value:.2f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"  # noqa: PLR2004


def tick_parts(tick: LoadTick) -> list[Text]:
    """The newest numbers, each a piece of its own."""
    parts = [
        Text(f"{tick.t_s:.0f} s", style="dim"),
        Text(f"{tick.rps:.1f} req/s", style="bold"),
        Text(f"{tick.output_tokens_per_s:.0f} tok/s"),
        Text(f"{tick.in_flight} open"),
        Text(f"TTFT p95 {seconds(tick.ttft_p95_s)}"),
        Text(f"ITL p95 {seconds(tick.itl_p95_s)}"),
        Text(f"{tick.failed} failed", style="red" if tick.failed else "dim"),
    ]
    return [*parts, Text(f"{tick.dropped} dropped", style="red")] if tick.dropped else parts


def tick_line(tick: LoadTick) -> Text:
    """The newest numbers in one line."""
    return Text("  ").join(tick_parts(tick))


def summary_table(summary: LoadSummary) -> RenderableType:
    """Everything about a finished run."""
    latencies = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    latencies.add_column("Latency")
    for name in ("p50", "p95", "p99"):
        latencies.add_column(name, justify="right")
    for label, quantiles in (
        ("Time to first token, from the send", summary.ttft),
        ("Time to first token, from the schedule", summary.ttft_from_schedule),
        ("Between two chunks of text", summary.itl),
        ("Whole request", summary.total),
        ("Sent late by", summary.send_lag),
    ):
        latencies.add_row(label, *_cells(quantiles))
    return Group(_counts(summary), latencies, *_failures(summary))


def _counts(summary: LoadSummary) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("Requests", f"{summary.sent:,} sent in {summary.elapsed_s:.1f} s, {summary.completed:,} completed")
    grid.add_row(
        "Throughput",
        f"{summary.rps:.2f} requests/s, {summary.output_tokens_per_s:,.0f} output tokens/s",
    )
    if summary.prompt_tokens_measured is not None:
        grid.add_row(
            "Prompt tokens",
            f"{summary.prompt_tokens_measured:,} counted by the server, {summary.prompt_tokens_asked:,} wanted",
        )
    return grid


def _cells(quantiles: Quantiles) -> tuple[str, str, str]:
    return seconds(quantiles.p50), seconds(quantiles.p95), seconds(quantiles.p99)


def _failures(summary: LoadSummary) -> list[Text]:
    lines = []
    if summary.failed:
        classes = ", ".join(f"{count} {name}" for name, count in summary.errors.items())
        lines.append(Text(f"{summary.failed:,} requests failed: {classes}", style="red"))
    if summary.dropped:
        lines.append(
            Text(f"{summary.dropped:,} requests were never sent: too many in flight (--max-in-flight)", style="red")
        )
    return lines or [Text("No request failed.", style="green")]
