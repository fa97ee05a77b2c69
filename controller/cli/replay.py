"""foreserve replay: what policies would have done to a recorded demand, and what it would have cost."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from controller.cli.replay_source import Wanted, parse_last, read_source
from controller.cli.settings_options import PrometheusTokenFile
from controller.domain.identity import DeploymentId
from controller.errors import BadInputError
from controller.policy.load import LoadedPolicy, load_policy
from controller.report.replay import write_replay_report
from controller.simulation import driver
from controller.simulation.cluster import load_cluster
from controller.simulation.comparison import Comparison, PolicyRow
from controller.simulation.outcome import TPOT_OBJECTIVE_S, TTFT_OBJECTIVE_S, Objectives
from controller.simulation.peers.catalogue import EVERY_PEER, parse_peers
from controller.simulation.replay import ReplayPlan, Report, replay

_HOUR_S = 3600.0
_DAY_S = 86_400.0
_HEADINGS = (
    *("policy", "GPU-hours", "x oracle", "both kept", "TTFT kept", "TPOT kept"),
    *("TTFT p50 s", "p95 s", "p99 s", "unserved", "ups", "downs"),
    *("starting h", "idle h", "draining h"),
)


def replay_command(
    *,
    cluster: Annotated[Path, typer.Option(metavar="FILE", help="How fast replicas are, and how long they take.")],
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV of t_s,prompt_tokens,output_tokens (also gzip).")
    ] = None,
    from_history: Annotated[
        Path | None, typer.Option(metavar="STORE", help="Replay what this controller's store has seen, instead.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(metavar="URL", help="Replay what Prometheus has seen, instead.")
    ] = None,
    prometheus_token_file: PrometheusTokenFile = None,
    deployment: Annotated[
        str | None,
        typer.Option(metavar="APP/DEPLOYMENT", help="Whose history.  [default: the policy's first, or the only one]"),
    ] = None,
    last: Annotated[str, typer.Option(metavar="TIME", help="How much of that history: 90m, 12h, 7d.")] = "7d",
    policy: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Policy of the controller; repeat it to compare several.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the controller had seen before: t_s,n,prompt_tokens,output_tokens."),
    ] = None,
    scale: Annotated[float, typer.Option(min=0.001, max=1000, help="So many times the traffic.")] = 1.0,
    against: Annotated[
        str, typer.Option(metavar="PEER,...", help="NAME[:TARGET] of peers; empty for none.")
    ] = EVERY_PEER,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Runs with different start-up times.")] = 1,
    from_s: Annotated[float, typer.Option("--from", min=0, help="Skip this many seconds.")] = 0.0,
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
    startup_sweep: Annotated[
        str, typer.Option(metavar="S,...", help="Replay all of it again with each of these start-up times (seconds).")
    ] = "",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.json and report.html go.")] = Path("replay"),
) -> None:
    """Replay a recorded demand on a simulated fleet, under the real controller and under its peers.

    One row per policy: GPU-hours, their ratio to an oracle that knows the future under the same start-up times, the
    share of requests that got what they were promised, and where GPU time was wasted.

    \b
    Examples:
      foreserve replay --trace day.csv.gz --cluster manifests/clusters/llama-3.1-8b-rtx4090.yaml --policy policy.yaml
      foreserve replay --trace day.csv.gz --cluster c.yaml --policy now.yaml --policy new.yaml --against static
      foreserve replay --from-history foreserve.db --last 7d --cluster c.yaml --policy now.yaml --policy new.yaml
      foreserve replay --prometheus http://prometheus:9090 --deployment chat/llama --cluster c.yaml --policy p.yaml
    """  # noqa: D301 - click reads the backspace
    loaded = [load_policy(path) for path in policy or ()]
    wanted = Wanted(
        trace=trace,
        history=history,
        from_history=from_history,
        prometheus=prometheus,
        token_file=prometheus_token_file,
        deployment=_deployment(deployment, loaded, needed=prometheus is not None),
        last_s=parse_last(last),
        scale=scale,
        from_s=from_s,
        duration_s=duration,
    )
    peers, spec, sweep = parse_peers(against), load_cluster(cluster), _startup_times(startup_sweep)
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=console
    ) as bars:
        report = _report(bars)
        source = read_source(wanted, report)
        plan = ReplayPlan(
            title=source.title,
            command=shlex.join(["foreserve", *sys.argv[1:]]),
            demand=source.demand,
            cluster=spec,
            objectives=Objectives(ttft_s=ttft, tpot_s=tpot),
            attainment=attainment,
            policies=_named([for_deployment(one, source.deployment) for one in loaded]),
            peers=peers,
            seeds=seeds,
            past=source.past,
            origin=source.origin,
            startup_sweep=sweep,
        )
        comparison = replay(plan, report)
    write_replay_report(out, comparison)
    typer.echo(comparison_table(comparison))
    if comparison.sweep:
        typer.echo("\n" + sweep_table(comparison))
    console.print(f"wrote {out / 'report.json'} and {out / 'report.html'}")


def comparison_table(comparison: Comparison) -> str:
    """One line per policy, in columns; hours are GPU-hours."""
    rows = [_HEADINGS, *(_cells(row) for row in comparison.policies)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_HEADINGS))]
    lines = ("  ".join(_aligned(row, widths)) for row in rows)
    title = f"{comparison.title}: {comparison.requests:,} requests over {comparison.length_s / _HOUR_S:.1f} h"
    return "\n".join((title, *lines))


def sweep_table(comparison: Comparison) -> str:
    """Ratio to the oracle with the same start-up time, and share of requests with both promises kept."""
    points = comparison.sweep
    head = ("start-up", *(f"{point.startup_s:g} s" for point in points))
    rows = [head]
    for place, first in enumerate(points[0].policies):
        found = (point.policies[place] for point in points)
        rows.append((first.name, *(f"{row.oracle_ratio:.2f} {row.slo_attainment:.1%}" for row in found)))
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    return "\n".join(("x oracle, and both kept", *("  ".join(_aligned(row, widths)) for row in rows)))


def _startup_times(text: str) -> tuple[float, ...]:
    """Read ``S,...``. Raises BadInputError."""
    try:
        times = tuple(sorted({float(one) for one in text.split(",") if one.strip()}))
    except ValueError:
        times = (-1.0,)
    if any(not 0.0 <= one <= _DAY_S for one in times):
        msg = f"--startup-sweep {text!r}: expected seconds from 0 to {_DAY_S:g}, such as 0,60,120,300"
        raise BadInputError(msg)
    return times


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


def for_deployment(loaded: LoadedPolicy, deployment: DeploymentId | None) -> LoadedPolicy:
    """Return the policy of one deployment; that of the first when none is named. Raises BadInputError."""
    if deployment is None:
        return loaded
    found = tuple(one for one in loaded.policy.deployments if one.id == deployment)
    if not found:
        names = ", ".join(str(one.id) for one in loaded.policy.deployments)
        msg = f"{loaded.path}: has nothing for {deployment}; it has {names}. Name one of them with --deployment"
        raise BadInputError(msg)
    return replace(loaded, policy=loaded.policy.model_copy(update={"deployments": found}))


def _deployment(text: str | None, loaded: Sequence[LoadedPolicy], *, needed: bool) -> DeploymentId | None:
    """Read the name that is given; where one is ``needed``, the first policy's first is the default."""
    if text is None:
        return loaded[0].policy.deployments[0].id if needed and loaded else None
    try:
        return DeploymentId.parse(text)
    except ValueError as error:
        msg = f"--deployment: {error}"
        raise BadInputError(msg) from None


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
