"""The controller and its peers on the public traces: one policy, no tuning per trace.

    python -m benchmarks.bars --traces DIR [--out DIR] [--quick] [--seeds 3] [--jobs 1] [--only SCENARIO ...]
                              [--day NAME ...] [--policy FILE] [--write docs/benchmarks.md]

Every run is kept as JSON under ``--out``: an interrupted benchmark goes on where it was. Oracles are found once.
Use another ``--out`` (oracles may be copied) after a change of the controller or of the policy. ``--quick`` takes two
hours of each trace and one seed. ``--write`` puts the table between its markers in the page, with what is there so far.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from benchmarks.public_days import ATTAINMENT, OBJECTIVES, PUBLIC_DAYS, PublicDay, reference_cluster
from controller.policy.load import load_policy
from controller.simulation.cluster import ClusterSpec
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.driver import Run, run_policy
from controller.simulation.oracle import Hindsight, find_oracle, least_static, look_back
from controller.simulation.past import Past, read_past
from controller.simulation.peers.catalogue import parse_peers

POLICY = Path("manifests/policies/replay.yaml")
OURS = "foreserve"
PEERS = ("ray-serve:2", "ray-serve:12", "hpa:12", "hpa:20", "kpa:28", "aibrix:20", "keda:5", "wva:0.85", "static")
BEGIN = "<!-- bars: begin (generated) -->"
END = "<!-- bars: end -->"
_QUICK_FROM_S = {"sg_mid": 25_200.0, "sg_largeA": 12_600.0, "flash_wc98": 23_400.0}
_QUICK_S = 7200.0
_SWEEP_S = (0.0, 30.0, 60.0, 120.0, 180.0, 300.0)

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How replicas come. ``startup_s`` is drawn evenly between the two; ``seeds`` bounds the seeds of the benchmark."""

    name: str
    words: str
    provision_s: float = 0.0
    startup_s: tuple[float, float] | None = None
    peers: tuple[str, ...] = PEERS
    seeds: int = 100

    def cluster(self) -> ClusterSpec:
        """The reference cluster with these times."""
        cluster = reference_cluster()
        nodes = cluster.nodes.model_copy(update={"provision_s": self.provision_s})
        replica = cluster.replica
        if self.startup_s is not None:
            replica = replica.model_copy(update={"startup_s": self.startup_s})
        return cluster.model_copy(update={"nodes": nodes, "replica": replica})


SCENARIOS = (
    Scenario(name="replicas", words="Replicas start in 60 to 180 s"),
    Scenario(name="nodes", words="As above, after 240 s for a node", provision_s=240.0, peers=("hpa:20", "static")),
    *(
        Scenario(
            name=f"start-{seconds:g}", words=f"{seconds:g} s", startup_s=(seconds, seconds), peers=("hpa:20",), seeds=1
        )
        for seconds in _SWEEP_S
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run, or the oracle's; waste in GPU-hours."""

    gpu_hours: float
    slo_attainment: float
    ttft_attainment: float
    tpot_attainment: float
    unserved: int
    scale_ups: int
    scale_downs: int
    starting: float
    idle_ready: float
    draining: float

    @classmethod
    def of(cls, run: Run) -> Result:
        """What is kept of a run."""
        service, waste = run.service, run.cost.waste
        return cls(
            gpu_hours=run.cost.gpu_hours,
            slo_attainment=service.slo_attainment,
            ttft_attainment=service.ttft_attainment,
            tpot_attainment=service.tpot_attainment,
            unserved=service.unserved,
            scale_ups=run.scale_ups,
            scale_downs=run.scale_downs,
            starting=waste.starting,
            idle_ready=waste.idle_ready,
            draining=waste.draining,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where everything is, and how much of it is wanted."""

    traces: Path
    out: Path
    policy: Path
    quick: bool
    seeds: int

    def demand(self, day: PublicDay) -> Demand:
        """What is replayed of a day."""
        whole = day.demand(self.traces)
        return whole.excerpt(self._begin_s(day), self._begin_s(day) + _QUICK_S) if self.quick else whole

    def past(self, day: PublicDay) -> Past | None:
        """What the controller had seen before it, where it is known."""
        file = self.traces / "history" / day.file
        return read_past(file, scale=day.scale).until(self._begin_s(day)) if file.exists() else None

    def hindsight(self, day: PublicDay) -> tuple[Hindsight, int]:
        """Misses by fleet size, and the smallest static fleet that keeps the attainment; start-ups do not matter."""

        def find() -> tuple[Hindsight, int]:
            demand, cluster = self.demand(day), reference_cluster()
            found = look_back(demand, cluster, objectives=OBJECTIVES)
            return found, least_static(found, demand, cluster, objectives=OBJECTIVES, attainment=ATTAINMENT)

        return _pickled(self.out / f"{self._stem(day)}.pickle", find)

    def static(self, day: PublicDay) -> int:
        """Replicas of the smallest fixed fleet that keeps the attainment."""
        file = self.out / f"{self._stem(day)}-static.json"
        if not file.exists():
            _write(file, json.dumps(self.hindsight(day)[1]).encode())
        return int(json.loads(file.read_text()))

    def run(self, job: Job) -> Result:
        """Run a job, unless its result is kept already."""
        file = self.file(job)
        if not file.exists():
            _write(file, json.dumps(asdict(Result.of(self._run(job)))).encode())
        return Result(**json.loads(file.read_text()))

    def file(self, job: Job) -> Path:
        """Where a job's result is kept."""
        return self.out / f"{self._stem(job.day)}-{job.scenario.name}-{job.policy.replace(':', '_')}-{job.seed}.json"

    def _run(self, job: Job) -> Run:
        demand, cluster = self.demand(job.day), job.scenario.cluster()
        if job.policy == "oracle":
            hindsight, _ = self.hindsight(job.day)
            return find_oracle(
                hindsight, demand, cluster, seed=job.seed, objectives=OBJECTIVES, attainment=ATTAINMENT
            ).run
        static = self.static(job.day)
        if job.policy == OURS:
            return run_control_loop(
                load_policy(self.policy),
                demand,
                cluster,
                name=OURS,
                seed=job.seed,
                initial=static,
                objectives=OBJECTIVES,
                past=self.past(job.day),
            )
        peer = parse_peers(job.policy)[0].policy(static, cluster, OBJECTIVES)
        return run_policy(peer, demand, cluster, seed=job.seed, initial=static, objectives=OBJECTIVES)

    def _stem(self, day: PublicDay) -> str:
        return f"{day.name}-quick" if self.quick else day.name

    def _begin_s(self, day: PublicDay) -> float:
        return _QUICK_FROM_S.get(day.name, 0.0) if self.quick else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One policy on one day in one scenario with one seed."""

    day: PublicDay
    scenario: Scenario
    policy: str
    seed: int

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.day.name}, {self.scenario.name}, {self.policy}, seed {self.seed}"


def jobs(bench: Bench, scenarios: Sequence[Scenario], days: Sequence[PublicDay]) -> Iterator[Job]:
    """Every run, the oracle's first, so that a table can be made early."""
    for scenario in scenarios:
        for day in days:
            for policy in ("oracle", OURS, *scenario.peers):
                for seed in range(1, min(bench.seeds, scenario.seeds) + 1):
                    yield Job(day=day, scenario=scenario, policy=policy, seed=seed)


@dataclass(frozen=True, slots=True)
class Cell:
    """Means over the seeds that are there."""

    ratio: float
    kept: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.kept:.2%}), {self.seeds} seed{'s' * (self.seeds != 1)}"


def cell(bench: Bench, day: PublicDay, scenario: Scenario, policy: str) -> Cell | None:
    """Mean of a policy over the seeds whose run and oracle are kept; None when there is none."""
    found = []
    for seed in range(1, min(bench.seeds, scenario.seeds) + 1):
        files = [bench.file(Job(day=day, scenario=scenario, policy=name, seed=seed)) for name in (policy, "oracle")]
        if all(file.exists() for file in files):
            ours, best = (json.loads(file.read_text()) for file in files)
            found.append((ours["gpu_hours"] / best["gpu_hours"], ours["slo_attainment"]))
    if not found:
        return None
    return Cell(fmean(ratio for ratio, _ in found), fmean(kept for _, kept in found), len(found))


def table(bench: Bench, policies: Iterable[tuple[str, Scenario, str]]) -> list[str]:
    """Rows of (label, scenario, policy): a cell for each day, and the geometric mean where all are there."""
    lines = [
        f"| | {' | '.join(f'{day.name} x {day.scale:g}' for day in PUBLIC_DAYS)} | geometric mean |",
        "|---|" + "---|" * (len(PUBLIC_DAYS) + 1),
    ]
    for label, scenario, policy in policies:
        cells = [cell(bench, day, scenario, policy) for day in PUBLIC_DAYS]
        known = [one for one in cells if one is not None]
        if not known:
            continue
        mean = f"{math.exp(fmean(math.log(one.ratio) for one in known)):.2f}" if len(known) == len(cells) else "-"
        lines.append(f"| {label} | {' | '.join('-' if one is None else str(one) for one in cells)} | {mean} |")
    return lines


def page(bench: Bench, command: str) -> str:
    """The section with what is there so far."""
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    parts = [f"GPU-hours over the oracle's (share of requests that kept both objectives). `{command}`", ""]
    for name in ("replicas", "nodes"):
        scenario = by_name[name]
        rows = [(policy, scenario, policy) for policy in (OURS, *scenario.peers)]
        parts += [f"**{scenario.words}**, means of the seeds that were run:", ""]
        parts += [*table(bench, rows), ""]
    sweep = [one for one in SCENARIOS if one.startup_s is not None]
    parts += ["**Start-up swept**, every start takes exactly so long, against an oracle with the same start-up:", ""]
    parts += table(bench, [(f"{policy}, {one.words}", one, policy) for policy in (OURS, "hpa:20") for one in sweep])
    return "\n".join(parts)


def written(text: str, section: str) -> str:
    """Put the section between its markers. Raises ValueError when one is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg = f"the page has no {BEGIN} ... {END}"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{section}\n{END}{after}"


def _pickled(file: Path, find: Callable[[], Kept]) -> Kept:
    """What was found before. Files are this benchmark's own."""
    if file.exists():
        kept: Kept = pickle.loads(file.read_bytes())
        return kept
    found = find()
    _write(file, pickle.dumps(found))
    return found


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partly = file.with_suffix(".part")
    partly.write_bytes(content)
    partly.replace(file)


def _all(bench: Bench, wanted: Sequence[Job], *, processes: int) -> None:
    began = time.monotonic()
    left = [job for job in wanted if not bench.file(job).exists()]
    print(f"{len(wanted) - len(left)} of {len(wanted)} runs are kept already in {bench.out}", flush=True)
    if processes <= 1:
        for number, job in enumerate(left, start=1):
            _tell(job, bench.run(job), number, len(left), began)
        return
    with ProcessPoolExecutor(processes) as pool:
        for day in dict.fromkeys(job.day for job in left):
            bench.static(day)
        running = {pool.submit(bench.run, job): job for job in left}
        for number, future in enumerate(as_completed(running), start=1):
            _tell(running[future], future.result(), number, len(left), began)


def _tell(job: Job, result: Result, number: int, of: int, began: float) -> None:
    took = f"{number}/{of} after {time.monotonic() - began:.0f} s"
    print(f"[{took}] {job.words}: {result.gpu_hours:.2f} GPU-hours, {result.slo_attainment:.2%}", flush=True)


def main() -> None:
    """Run what is not kept yet, print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="folder with requests/*.csv.gz and history/*.csv.gz")
    parser.add_argument("--out", type=Path, default=Path("build/bars"), help="where results are kept")
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--quick", action="store_true", help="two hours of each trace, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", action="append", choices=[one.name for one in SCENARIOS], help="may be repeated")
    parser.add_argument("--day", action="append", choices=[one.name for one in PUBLIC_DAYS], help="may be repeated")
    parser.add_argument("--ours-only", action="store_true", help="leave out the peers")
    parser.add_argument("--table-only", action="store_true", help="run nothing")
    parser.add_argument("--write", type=Path, help="page to put the tables into")
    options = parser.parse_args()
    bench = Bench(
        traces=options.traces,
        out=options.out,
        policy=options.policy,
        quick=options.quick,
        seeds=1 if options.quick else options.seeds,
    )
    scenarios = [one for one in SCENARIOS if not options.only or one.name in options.only]
    days = [one for one in PUBLIC_DAYS if not options.day or one.name in options.day]
    wanted = [job for job in jobs(bench, scenarios, days) if not options.ours_only or job.policy in {"oracle", OURS}]
    if not options.table_only:
        _all(bench, wanted, processes=options.jobs)
    section = page(bench, " ".join(["python -m benchmarks.bars --traces DIR", *(["--quick"] if bench.quick else [])]))
    print(section)
    if options.write is not None:
        options.write.write_text(written(options.write.read_text(encoding="utf-8"), section), encoding="utf-8")
        print(f"wrote {options.write}", file=sys.stderr)


if __name__ == "__main__":
    main()
