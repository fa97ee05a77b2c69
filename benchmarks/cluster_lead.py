"""Nodes and replicas ahead of public ramps: the whole plan beside chains that react.

    python -m benchmarks.cluster_lead --traces DIR [--out DIR] [--only NAME ...] [--write docs/benchmarks.md]

A node takes 300 s, a replica on it 120 s; an empty node that nobody keeps goes after 600 s, as with the cluster
autoscaler. In every chain a replica without a node orders one; only Foreserve orders nodes ahead, by the same loop,
planner and ledger as in production. How many replicas are needed at each moment is known in hindsight: the fewest
that keep 99 % of the requests of the last two minutes inside both objectives. A scale-up is a moment at which more are
needed than ever in the twenty minutes before; it is in time when so many are ready. A chain's GPU-hours are those that
were needed, less those that were missing because it was late, and those that were ready beyond the need, and the rest:
starting, draining, and nodes that come or are empty. Perfect foresight under the same lead times is shown beside.
Results are kept as JSON under ``--out``: an interrupted benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.public_days import OBJECTIVES, PUBLIC_DAYS, PublicDay, reference_cluster
from controller.policy.load import LoadedPolicy, load_policy
from controller.policy.model import Policy
from controller.simulation.cluster import ClusterSpec
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.driver import Run, run_policy
from controller.simulation.oracle import look_back
from controller.simulation.past import read_past
from controller.simulation.peers.catalogue import parse_peers

BEGIN = "<!-- cluster lead: begin (generated) -->"
END = "<!-- cluster lead: end -->"
OURS = "foreserve"
WITHOUT_FORECAST = "foreserve, reactive"
PEERS = ("ray-serve:12", "hpa:20")
OURS_BOTH = (OURS, WITHOUT_FORECAST)
POLICY = Path("manifests/policies/replay.yaml")

_ACCELERATOR = "nvidia-l4"
_NODE_S, _REPLICA_S, _UNNEEDED_S = 300.0, 120.0, 600.0
_KEPT, _OVER_S, _RECENT_S, _SETTLING_S = 0.99, 120.0, 1200.0, 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """A part of a public day, laid over itself ``scale`` times, in seconds of the day."""

    name: str
    day: str
    scale: float
    from_s: float
    to_s: float

    @property
    def public(self) -> PublicDay:
        """The day at this scale."""
        found = next(day for day in PUBLIC_DAYS if day.name == self.day)
        return PublicDay(found.name, found.file, self.scale)


RAMPS = (
    Ramp(name="morning", day="sg_mid", scale=2.0, from_s=26_400.0, to_s=36_000.0),
    Ramp(name="flash crowd", day="flash_wc98", scale=3.0, from_s=22_800.0, to_s=30_600.0),
    Ramp(name="forenoon", day="sg_largeA", scale=2.0, from_s=30_000.0, to_s=39_600.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One chain on one ramp. ``missed`` are scale-ups as (second, needed, ready).

    GPU-hours in which a replica was needed and not ready are ``missing_hours``, those of the opposite ``spare_hours``.
    """

    gpu_hours: float
    slo_attainment: float
    scale_ups: int
    in_time: int
    short: float
    missed: tuple[tuple[int, int, int], ...]
    missing_hours: float
    spare_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where things are."""

    traces: Path
    out: Path

    def result(self, ramp: Ramp, policy: str) -> Result:
        """Run a chain, unless its result is kept already."""
        file = self.out / f"{ramp.name}-{policy}.json".replace(" ", "_").replace(":", "_").replace(",", "")
        if not file.exists():
            demand = ramp.public.demand(self.traces).excerpt(ramp.from_s, ramp.to_s)
            needed = self.needed(ramp, demand)
            run = self._run(ramp, policy, demand, initial=int(needed[: _steps(_SETTLING_S, demand, needed)].max()))
            file.write_text(json.dumps(asdict(judged(run, needed, demand.length_s))))
        return Result(**json.loads(file.read_text()))

    def least(self, ramp: Ramp) -> tuple[float, float]:
        """GPU-hours that are needed, and those of perfect foresight."""
        demand = ramp.public.demand(self.traces).excerpt(ramp.from_s, ramp.to_s)
        needed = self.needed(ramp, demand)
        initial = int(needed[: _steps(_SETTLING_S, demand, needed)].max())
        known = foreseen_hours(
            needed, demand.length_s, initial=initial, lead_s=_NODE_S + _REPLICA_S, empty_s=_UNNEEDED_S
        )
        return needed_hours(needed, demand.length_s), known

    def needed(self, ramp: Ramp, demand: Demand) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Replicas needed at the end of each interval; slow to find, so kept."""
        file = self.out / f"{ramp.name}-needed.json".replace(" ", "_")
        if not file.exists():
            self.out.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(needed_replicas(demand, chain()).tolist()))
        return np.array(json.loads(file.read_text()), dtype=np.int64)

    def _run(self, ramp: Ramp, policy: str, demand: Demand, *, initial: int) -> Run:
        cluster = chain()
        if policy not in OURS_BOTH:
            peer = parse_peers(policy)[0].policy(initial, cluster, OBJECTIVES)
            return run_policy(peer, demand, cluster, seed=1, initial=initial, objectives=OBJECTIVES)
        history = self.traces / "history" / ramp.public.file
        return run_control_loop(
            policy_of(ahead=policy == OURS),
            demand,
            cluster,
            name=policy,
            seed=1,
            initial=initial,
            objectives=OBJECTIVES,
            past=read_past(history, scale=ramp.scale).until(ramp.from_s),
            housed=policy == OURS,
        )


def policy_of(*, ahead: bool) -> LoadedPolicy:
    """The policy of the other benchmarks with a cluster and the default quantile, or without foresight and cluster."""
    loaded = load_policy(POLICY)
    document = loaded.policy.model_dump(mode="json", exclude_defaults=True) | {"version": 1}
    deployment = document["deployments"][0]
    if ahead:
        deployment["forecast"] = {}
        deployment["placement"] = {"accelerator": _ACCELERATOR}
        most = deployment["limits"]["max_replicas"]
        group = {"name": "gpu", "accelerator": _ACCELERATOR, "gpus_per_worker": 1, "max_workers": most}
        pool = {"name": "gpu", "accelerator": _ACCELERATOR, "gpus_per_node": 1, "zones": ["a"]}
        pool |= {"assumed_lead_s": _NODE_S, "bounds": {"max_nodes": most}}
        document["cluster"] = {"worker_groups": [group], "node_pools": [pool]}
    else:
        deployment["forecast"] = {"enabled": False}
    return replace(loaded, policy=Policy.model_validate_json(json.dumps(document)))


def chain() -> ClusterSpec:
    """The reference replica, with these lead times."""
    cluster = reference_cluster()
    nodes = cluster.nodes.model_copy(update={"provision_s": _NODE_S, "idle_timeout_s": _UNNEEDED_S})
    replica = cluster.replica.model_copy(update={"startup_s": (_REPLICA_S, _REPLICA_S)})
    return cluster.model_copy(update={"nodes": nodes, "replica": replica})


def needed_replicas(demand: Demand, cluster: ClusterSpec) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the fewest replicas that keep the attainment over the last two minutes, at each interval's end."""
    hindsight = look_back(demand, cluster, objectives=OBJECTIVES)
    count = hindsight.missed.shape[1]
    arrived, _ = np.histogram(demand.arrival_s, bins=np.arange(count + 1) * hindsight.interval_s)
    over = round(_OVER_S / hindsight.interval_s)
    needed = np.empty(count, dtype=np.int64)
    for interval in range(count):
        recent = slice(max(0, interval + 1 - over), interval + 1)
        enough = hindsight.missed[:, recent].sum(axis=1) <= (1.0 - _KEPT) * arrived[recent].sum()
        needed[interval] = hindsight.sizes[enough.argmax()] if enough.any() else hindsight.sizes[-1]
    return needed


def judged(run: Run, needed: np.ndarray[tuple[int], np.dtype[np.int64]], length_s: float) -> Result:
    """Compare what was ready with what was needed, after the beginning has settled."""
    interval_s = length_s / len(needed)
    times = np.array([sample.at for sample in run.samples])
    counts = np.array([sample.ready for sample in run.samples])
    at = (np.arange(len(needed)) + 1) * interval_s
    ready = counts[np.maximum(0, np.searchsorted(times, at, side="right") - 1)]
    recent = round(_RECENT_S / interval_s)
    counted = [step for step in range(len(needed)) if at[step] > _SETTLING_S]
    ups = [
        (step, level)
        for step in counted
        for level in range(int(needed[max(0, step - recent) : step].max()) + 1, int(needed[step]) + 1)
    ]
    missed = tuple((int(at[step]), level, int(ready[step])) for step, level in ups if ready[step] < level)
    lasts_s = np.diff(np.append(times, length_s))
    beyond = counts - needed[np.minimum(len(needed) - 1, (times / interval_s).astype(np.int64))]
    return Result(
        gpu_hours=run.cost.gpu_hours,
        slo_attainment=run.service.slo_attainment,
        scale_ups=len(ups),
        in_time=len(ups) - len(missed),
        short=float(np.mean([ready[step] < needed[step] for step in counted])),
        missed=missed,
        missing_hours=float((lasts_s * np.maximum(0, -beyond)).sum()) / 3600.0,
        spare_hours=float((lasts_s * np.maximum(0, beyond)).sum()) / 3600.0,
    )


def needed_hours(needed: np.ndarray[tuple[int], np.dtype[np.int64]], length_s: float) -> float:
    """GPU-hours of the replicas that are needed, with one GPU each."""
    return float(needed.sum()) * length_s / len(needed) / 3600.0


def foreseen_hours(
    needed: np.ndarray[tuple[int], np.dtype[np.int64]], length_s: float, *, initial: int, lead_s: float, empty_s: float
) -> float:
    """GPU-hours of a chain that knows what will be needed, is in time always, and gives up what it pays to give up.

    Every replica is ordered ``lead_s`` before it is needed; a node that is given up is paid for another ``empty_s``, so
    one is kept through a lull in which both take longer. ``initial`` replicas are there at the beginning.
    """
    interval_s = length_s / len(needed)
    total_s = 0.0
    for level in range(1, int(needed.max()) + 1):
        until = 0.0 if level <= initial else -math.inf
        for step in np.flatnonzero(needed >= level):
            begins, ends = step * interval_s, (step + 1) * interval_s
            again_s = min(lead_s + empty_s, begins - until) if math.isfinite(until) else min(lead_s, begins)
            total_s += again_s + interval_s
            until = ends
        total_s += min(empty_s, length_s - until) if math.isfinite(until) else 0.0
    return total_s / 3600.0


def section(bench: Bench, ramps: list[Ramp]) -> Iterator[str]:
    """The table, run by run."""
    yield (
        "| ramp | chain | scale-ups in time | time with too few | requests that kept both objectives | GPU-hours | "
        "needed - missing + spare + rest |"
    )
    yield "|---|---|---|---|---|---|---|"
    for ramp in ramps:
        place = f"{ramp.name} ({ramp.day} x {ramp.scale:g})"
        least, known = bench.least(ramp)
        parts = f"{least:.1f} - 0.0 + {known - least:.1f}"
        yield f"| {place} | perfect foresight | all | 0.0% | - | {known:.1f} | {parts} |"
        for policy in (*OURS_BOTH, *PEERS):
            began = time.monotonic()
            one = bench.result(ramp, policy)
            print(f"{ramp.name}, {policy}: {one} after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            share = f"{one.in_time} of {one.scale_ups} ({one.in_time / max(1, one.scale_ups):.0%})"
            rest = one.gpu_hours - least + one.missing_hours - one.spare_hours
            parts = f"{least:.1f} - {one.missing_hours:.1f} + {one.spare_hours:.1f} + {rest:.1f}"
            kept = f"{one.short:.1%} | {one.slo_attainment:.2%}"
            yield f"| {place} | `{policy}` | {share} | {kept} | {one.gpu_hours:.1f} | {parts} |"


def written(text: str, table: str) -> str:
    """Put the table between its markers. Raises ValueError when one is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        msg = f"the page has no {BEGIN} ... {END}"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _steps(seconds: float, demand: Demand, needed: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    return max(1, round(seconds / (demand.length_s / len(needed))))


def main() -> None:
    """Run what is not kept yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="folder with requests/*.csv.gz and history/*.csv.gz")
    parser.add_argument("--out", type=Path, default=Path("build/cluster_lead"), help="where results are kept")
    parser.add_argument("--only", action="append", choices=[ramp.name for ramp in RAMPS], help="may be repeated")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    options = parser.parse_args()
    ramps = [ramp for ramp in RAMPS if not options.only or ramp.name in options.only]
    table = "\n".join(section(Bench(traces=options.traces, out=options.out), ramps))
    print(table)
    if options.write is not None:
        options.write.write_text(written(options.write.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
