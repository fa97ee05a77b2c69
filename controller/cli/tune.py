"""foreserve tune: search a policy's parameters by replay."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from controller.cli.replay_source import Wanted, parse_last, read_source
from controller.domain.identity import DeploymentId
from controller.errors import BadInputError
from controller.report.tune import policy_files, write_tuning
from controller.simulation.cluster import ClusterSpec, load_cluster
from controller.simulation.oracle import least_static, look_back
from controller.simulation.outcome import TPOT_OBJECTIVE_S, TTFT_OBJECTIVE_S, Objectives
from controller.tuning.problem import Case, Problem, fingerprint, load_base
from controller.tuning.run import Journal, Search, run_search
from controller.tuning.search import Trial, pareto_front
from controller.tuning.space import BUILTIN, load_space
from controller.tuning.workers import default_jobs, workers


def tune_command(
    *,
    cluster: Annotated[Path, typer.Option(metavar="FILE", help="How fast replicas are, and how long they take.")],
    policy: Annotated[Path, typer.Option(metavar="BASE", help="Policy to begin with; what is not varied stays.")],
    trace: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Demand, as for replay; repeat it for several.")
    ] = None,
    history: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="What came before each trace, in their order.")
    ] = None,
    from_history: Annotated[
        Path | None, typer.Option(metavar="STORE", help="Use what this controller's store has seen, instead.")
    ] = None,
    last: Annotated[str, typer.Option(metavar="TIME", help="How much of that history: 90m, 12h, 7d.")] = "1d",
    deployment: Annotated[
        str | None, typer.Option(metavar="APP/DEPLOYMENT", help="Which to tune.  [default: the policy's first]")
    ] = None,
    search: Annotated[
        str, typer.Option(metavar="FILE|builtin", help="Parameters and their ranges; docs/tune.md.")
    ] = BUILTIN,
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="Candidates to try, besides the base.")] = 40,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Replays at once; 1 needs no Ray.  [default: one per CPU]")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to run on, such as auto.  [default: here]")
    ] = None,
    scale: Annotated[float, typer.Option(min=0.001, max=1000, help="So many times the traffic.")] = 1.0,
    from_s: Annotated[float, typer.Option("--from", min=0, help="Skip this many seconds.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=60, help="Use this many seconds.  [default: all]")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Start-up times drawn for each candidate.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the search itself.")] = 0,
    ttft: Annotated[float, typer.Option(min=0.001, help="Seconds to the first token promised.")] = TTFT_OBJECTIVE_S,
    tpot: Annotated[float, typer.Option(min=0.0001, help="Seconds per further token promised.")] = TPOT_OBJECTIVE_S,
    attainment: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Share of requests to keep both for.")] = 0.99,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where results go; a search there goes on.")] = Path("tune"),
) -> None:
    """Search a policy's parameters by replay: GPU-hours against the share of requests that got what was promised.

    Half of the trials are spread over the ranges, the rest refine the best trade-offs found. The same command tries
    the same candidates however many replays run at once, and goes on where it was stopped.

    \b
    Examples:
      foreserve tune --trace day.csv.gz --cluster cluster.yaml --policy base.yaml --trials 40
      foreserve tune --from-history foreserve.db --last 1d --cluster c.yaml --policy base.yaml --search ranges.yaml
      foreserve tune --trace day.csv.gz --cluster cluster.yaml --policy base.yaml --trials 1000 --address auto
    """  # noqa: D301 - click reads the backspace
    space, spec = load_space(search), load_cluster(cluster)
    loaded, place = load_base(policy, deployment)
    objectives = Objectives(ttft_s=ttft, tpot_s=tpot)
    console = Console(stderr=True)
    wanted = _wanted(
        trace or [],
        history or [],
        from_history=from_history,
        deployment=loaded.policy.deployments[place].id,
        last_s=parse_last(last),
        scale=scale,
        from_s=from_s,
        duration_s=duration,
    )
    cases = tuple(_case(one, spec, objectives, attainment, console) for one in wanted)
    problem = Problem(
        text=policy.read_bytes(),
        path=policy,
        deployment=place,
        cases=cases,
        cluster=spec,
        objectives=objectives,
        seeds=seeds,
    )
    mark = fingerprint(problem, space, trials=trials, seed=seed, objective=attainment)
    plan = Search(space=space, trials=trials, objective=attainment, seed=seed, fingerprint=mark)
    journal = Journal(out / "trials.jsonl", mark)
    if journal.trials:
        console.print(f"going on after {len(journal.trials)} trials in {out / 'trials.jsonl'}")
    with (
        workers(problem, jobs=jobs or default_jobs(), address=address) as crew,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bars,
    ):
        done = run_search(plan, crew, journal, _noting(bars, trials + 1))
    title = f"{loaded.policy.deployments[place].id} on {', '.join(case.name for case in cases)}"
    command = shlex.join(["foreserve", *sys.argv[1:]])
    write_tuning(out, problem, done, objective=attainment, title=title, command=command)
    typer.echo(front_table(done, attainment))
    console.print(f"wrote {out / 'tune.json'}, {out / 'tune.html'} and {len(policy_files(done, attainment))} policies")


def front_table(done: Sequence[Trial], objective: float) -> str:
    """The base and the Pareto front, cheapest first, in columns."""
    names = list(dict.fromkeys(name for trial in done for name in trial.values))
    written = policy_files(done, objective)
    rows = [("trial", "GPU-hours", "attainment", *names, "file")]
    shown = {trial.number: trial for trial in (*pareto_front(done), *(one for one in done[:1] if one.is_done))}
    rows.extend(
        (
            "base" if trial.number == 0 else str(trial.number),
            f"{trial.gpu_hours:.2f}",
            f"{trial.attainment:.2%}",
            *(str(trial.values.get(name, "-")) for name in names),
            written.get(trial.number, ""),
        )
        for trial in sorted(shown.values(), key=lambda trial: trial.gpu_hours or 0.0)
    )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    refused = [trial for trial in done if trial.problem]
    if refused:
        lines.append(f"{len(refused)} not replayed; the first: {refused[0].problem}")
    return "\n".join(lines)


def _wanted(
    traces: Sequence[Path],
    histories: Sequence[Path],
    *,
    from_history: Path | None,
    deployment: DeploymentId,
    last_s: float,
    scale: float,
    from_s: float,
    duration_s: float | None,
) -> list[Wanted]:
    if histories and len(histories) != len(traces):
        msg = f"{len(histories)} --history for {len(traces)} --trace: give one for each, in the same order, or none"
        raise BadInputError(msg)
    if bool(traces) == (from_history is not None):
        msg = "give either --trace FILE (once or more) or --from-history STORE: what is to be replayed?"
        raise BadInputError(msg)
    pairs: list[tuple[Path | None, Path | None]] = [
        (trace, histories[place] if histories else None) for place, trace in enumerate(traces)
    ]
    return [
        Wanted(
            trace=trace,
            history=history,
            from_history=from_history,
            prometheus=None,
            token_file=None,
            deployment=deployment,
            last_s=last_s,
            scale=scale,
            from_s=from_s,
            duration_s=duration_s,
        )
        for trace, history in pairs or [(None, None)]
    ]


def _case(wanted: Wanted, cluster: ClusterSpec, objectives: Objectives, attainment: float, console: Console) -> Case:
    """Read a demand, and find the static fleet that every candidate begins with."""
    source = read_source(wanted, lambda _name: lambda _share: None)
    with console.status(f"{source.title}: fixed fleets"):
        hindsight = look_back(source.demand, cluster, objectives=objectives)
        initial = least_static(hindsight, source.demand, cluster, objectives=objectives, attainment=attainment)
    return Case(name=source.title, demand=source.demand, initial=initial, past=source.past, origin=source.origin)


def _noting(bars: Progress, total: int) -> Callable[[Trial], None]:
    task = bars.add_task("trials", total=total)

    def note(trial: Trial) -> None:
        bars.advance(task)
        if trial.problem:
            bars.console.print(f"trial {trial.number}: {trial.problem}")

    return note
