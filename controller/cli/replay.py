"""foreserve replay: what policies would have done to a recorded demand, and what it would have cost."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from controller.errors import BadInputError
from controller.load.schedule import scale_rate
from controller.load.trace import read_trace
from controller.policy.load import LoadedPolicy, load_policy
from controller.report.replay import write_replay_report
from controller.simulation import driver
from controller.simulation.cluster import load_cluster
from controller.simulation.comparison import Comparison, PolicyRow
from controller.simulation.demand import Demand
from controller.simulation.outcome import TPOT_OBJECTIVE_S, TTFT_OBJECTIVE_S, Objectives
from controller.simulation.past import read_past
from controller.simulation.peers.catalogue import EVERY_PEER, parse_peers
from controller.simulation.replay import ReplayPlan, Report, replay

_HOUR_S = 3600.0
_HEADINGS = (
    *("policy", "GPU-hours", "x oracle", "both kept", "TTFT kept", "TPOT kept"),
    *("TTFT p50 s", "p95 s", "p99 s", "unserved", "ups", "downs"),
    *("starting h", "idle h", "draining h"),
)


def replay_command(
    *,
    trace: Annotated[Path, typer.Option(metavar="FILE", help="CSV of t_s,prompt_tokens,output_tokens (also gzip).")],
    cluster: Annotated[Path, typer.Option(metavar="FILE", help="How fast replicas are, and how long they take.")],
    policy: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Policy of the controller; repeat it to compare several.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the controller had seen before: t_s,n,prompt_tokens,output_tokens."),
    ] = None,
    scale: Annotated[float, typer.Option(min=0.001, max=1000, help="Copies of the trace laid over each other.")] = 1.0,
    against: Annotated[
        str, typer.Option(metavar="PEER,...", help="NAME[:TARGET] of peers; empty for none.")
    ] = EVERY_PEER,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs with different start-up times.")] = 1,
    from_s: Annotated[float, typer.Option("--from", min=0, help="Skip this many seconds of the trace.")] = 0.0,
    duration: Annotated[
        float | None, typer.Option(min=60, help="Use this many seconds.  [default: to the end]")
    ] = None,
    ttft: Annotated[float, typer.Option(min=0.001, help="Seconds to the first token promised to each request.")] = (
        TTFT_OBJECTIVE_S
    ),
    tpot: Annotated[float, typer.Option(min=0.0001, help="Seconds per further token promised to each request.")] = (
        TPOT_OBJECTIVE_S
    ),
    attainment: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Share that the oracle must keep.")] = 0.99,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.json and report.html go.")] = Path("replay"),
) -> None:
    """Replay a recorded demand on a simulated fleet, under the real controller and under its peers.

    One row per policy: GPU-hours, their ratio to an oracle that knows the future under the same start-up times, the
    share of requests that got what they were promised, and where GPU time was wasted.

    \b
    Examples:
      foreserve replay --trace day.csv.gz --cluster manifests/clusters/llama-3.1-8b-rtx4090.yaml --policy policy.yaml
      foreserve replay --trace day.csv.gz --cluster c.yaml --policy now.yaml --policy new.yaml --against static
    """  # noqa: D301 - click reads the backspace
    plan = ReplayPlan(
        title=f"{trace.name.split('.')[0]} x {scale:g}",
        command=shlex.join(["foreserve", *sys.argv[1:]]),
        demand=_demand(trace, scale, from_s, duration),
        cluster=load_cluster(cluster),
        objectives=Objectives(ttft_s=ttft, tpot_s=tpot),
        attainment=attainment,
        policies=_named([load_policy(path) for path in policy or ()]),
        peers=parse_peers(against),
        seeds=seeds,
        past=None if history is None else read_past(history, scale=scale).until(from_s),
    )
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=console
    ) as bars:
        comparison = replay(plan, _report(bars))
    write_replay_report(out, comparison)
    typer.echo(comparison_table(comparison))
    console.print(f"wrote {out / 'report.json'} and {out / 'report.html'}")


def comparison_table(comparison: Comparison) -> str:
    """One line per policy, in columns; hours are GPU-hours."""
    rows = [_HEADINGS, *(_cells(row) for row in comparison.policies)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    lines = ("  ".join(_aligned(row, widths)) for row in rows)
    title = f"{comparison.title}: {comparison.requests:,} requests over {comparison.length_s / _HOUR_S:.1f} h"
    return "\n".join((title, *lines))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return [row[0].ljust(widths[0]), *padded[1:]]


def _cells(row: PolicyRow) -> tuple[str, ...]:
    shares = (row.slo_attainment, row.ttft_attainment, row.tpot_attainment)
    times = (row.ttft_p50_s, row.ttft_p95_s, row.ttft_p99_s)
    wasted = (row.waste.starting, row.waste.idle_ready, row.waste.draining)
    return (
        row.name,
        f"{row.gpu_hours:.2f}",
        f"{row.oracle_ratio:.2f}",
        *(f"{share:.2%}" for share in shares),
        *(f"{seconds:.2f}" for seconds in times),
        *(f"{count:.0f}" for count in (row.unserved, row.scale_ups, row.scale_downs)),
        *(f"{hours:.2f}" for hours in wasted),
    )


def _demand(path: Path, scale: float, from_s: float, duration: float | None) -> Demand:
    """Scale the trace as `foreserve load --rate-scale` does, then cut out the part that is wanted."""
    trace = read_trace(path)
    times, rows = scale_rate(trace.t_s, scale, trace.length_s, np.random.default_rng([0, 0]))
    whole = Demand(
        arrival_s=times,
        prompt_tokens=trace.prompt_tokens[rows],
        output_tokens=trace.output_tokens[rows],
        length_s=trace.length_s,
    )
    end_s = whole.length_s if duration is None else from_s + duration
    part = whole.excerpt(from_s, end_s)
    if not len(part):
        msg = f"{path}: no request from {from_s:g} s to {end_s:g} s; it is {whole.length_s:.0f} s long"
        raise BadInputError(msg)
    return part


def _named(policies: list[LoadedPolicy]) -> list[tuple[str, LoadedPolicy]]:
    """Name the controller's rows; by file when there are several."""
    if len(policies) == 1:
        return [("foreserve", policies[0])]
    return [(f"foreserve {loaded.path.stem}", loaded) for loaded in policies]


def _report(bars: Progress) -> Report:
    def begin(name: str) -> driver.Progress:
        task = bars.add_task(name, total=1.0)
        return lambda share: bars.update(task, completed=share)

    return begin
