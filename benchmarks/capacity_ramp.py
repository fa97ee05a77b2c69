"""Predicted sustainable load of a replica against what a ramp on the simulated fleet finds.

The prediction knows the replica's iteration time and the trace's token sizes, and nothing of the fleet. The ramp looks
for the largest rate of Poisson arrivals of the same sizes at which 99 % of requests keep both objectives.

    python -m benchmarks.capacity_ramp --traces ../shared/traces/requests
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.domain.capacity import IterationTime
from controller.load.trace import Trace, read_trace
from controller.planner.capacity.mix import TokenMix
from controller.planner.capacity.safety import bucket_of, evidence_for, safe_utilisation
from controller.planner.capacity.sustainable import EngineLimits, FullLoad, full_load
from controller.simulation.cluster import ClusterSpec, load_cluster
from controller.simulation.demand import Demand
from controller.simulation.fleet import Fleet
from controller.simulation.outcome import Objectives, tpot_s, ttft_s

CLUSTER = Path(__file__).parent.parent / "manifests" / "clusters" / "llama-3.1-8b-rtx4090.yaml"
TRACES = ("azure_conv_2023", "sg_mid_d8", "sg_largeA_d6", "flash_wc98_jun10")
ATTAINMENT = 0.99
REQUESTS_PER_REPLICA = 6000
_EDGE_S = 90.0
_HALVINGS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trace's sizes on so many replicas; loads are requests/s per replica."""

    trace: str
    replicas: int
    full: float
    predicted: float
    found: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted / self.found - 1.0


def compare(
    trace: Trace, cluster: ClusterSpec, replicas: int, promised: Objectives, *, requests: int = REQUESTS_PER_REPLICA
) -> Row:
    """Predict, then ramp."""
    full = predicted_full_load(trace, cluster, promised)
    share = safe_utilisation(evidence_for((), bucket_of(full.mix)), full, replicas)
    found = ramp(trace, cluster, replicas, promised, full.requests_per_s, requests=requests * replicas)
    return Row(
        trace=trace.name,
        replicas=replicas,
        full=full.requests_per_s,
        predicted=share * full.requests_per_s,
        found=found,
    )


def predicted_full_load(trace: Trace, cluster: ClusterSpec, promised: Objectives) -> FullLoad:
    """Full load by formula, from the cluster file and the mean sizes."""
    spec = cluster.replica
    prompt, output = trace.prompt_tokens.astype(float), trace.output_tokens.astype(float)
    mix = TokenMix(
        prompt_tokens=float(prompt.mean()),
        output_tokens=float(output.mean()),
        context_tokens=float((output * (prompt + output / 2)).mean() / output.mean()),
    )
    time = IterationTime(
        base_s=spec.iteration_base_s,
        per_sequence_s=spec.per_sequence_s,
        per_context_token_s=spec.per_context_token_s,
        per_prefill_token_s=spec.per_prefill_token_s,
    )
    limits = EngineLimits(
        kv_cache_tokens=spec.kv_cache_tokens,
        max_num_seqs=spec.max_num_seqs,
        max_num_batched_tokens=spec.max_num_batched_tokens,
    )
    return full_load(time, mix, limits, ttft_s=promised.ttft_s, tpot_s=promised.tpot_s)


def ramp(
    trace: Trace, cluster: ClusterSpec, replicas: int, promised: Objectives, around: float, *, requests: int
) -> float:
    """Largest load per replica that keeps 99 %, by bisection to about 1 % of ``around``."""
    kept, broken = 0.3 * around, 1.1 * around
    for _ in range(_HALVINGS):
        load = (kept + broken) / 2
        if attained(trace, cluster, replicas, promised, load * replicas, requests=requests) < ATTAINMENT:
            broken = load
        else:
            kept = load
    return kept


def attained(
    trace: Trace, cluster: ClusterSpec, replicas: int, promised: Objectives, rate: float, *, requests: int
) -> float:
    """Share of requests that keep both objectives under Poisson arrivals, the run's edges left out."""
    rng = np.random.default_rng(7)
    picked = rng.integers(len(trace.t_s), size=requests)
    arrival = np.cumsum(rng.exponential(1.0 / rate, size=requests))
    demand = Demand(
        arrival_s=arrival,
        prompt_tokens=trace.prompt_tokens[picked],
        output_tokens=trace.output_tokens[picked],
        length_s=float(arrival[-1]) + 1.0,
    )
    fleet = Fleet(demand, cluster, seed=1, initial=replicas)
    fleet.advance(float(arrival[-1]))
    rows = fleet.requests
    inside = (rows.arrival > _EDGE_S) & (rows.arrival < arrival[-1] - _EDGE_S)
    kept = (ttft_s(rows) <= promised.ttft_s) & (tpot_s(rows) <= promised.tpot_s)
    return float(kept[inside].mean())


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = [
        "| sizes of | replicas | full load, requests/s each | predicted safe | ramp finds | error |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.trace} | {row.replicas} | {row.full:.2f} | {row.predicted:.2f} | {row.found:.2f} | {row.error:+.0%} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 4, 16])
    given = parser.parse_args()
    cluster = load_cluster(CLUSTER)
    traces = [read_trace(given.traces / f"{name}.csv.gz") for name in TRACES]
    print(table([compare(trace, cluster, count, Objectives()) for trace in traces for count in given.replicas]))


if __name__ == "__main__":
    main()
