"""The simulated fleet against the real local stack, request by request, on the same traffic.

Profiles the local engine into a cluster file (iteration time as a client sees it, what a request takes outside
the engine, start-up time), sends excerpts of a bundled trace to one replica, to two, and to a fleet that the controller
scales, and simulates the same requests with the same replicas at the same times.

    python -m benchmarks.simulator_validation --out cluster.yaml
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from benchmarks.live_stack import (
    held_at,
    live_stack,
    local_policy,
    machine_load,
    send,
    target_of,
    varied_arrivals,
    wait_for_replicas,
)
from controller.domain.capacity import IterationTime
from controller.domain.plan import Action
from controller.load.bundled import named_trace
from controller.load.row import RequestRow
from controller.load.schedule import Arrival, ScheduleOptions, arrivals
from controller.local.stack import LocalStack
from controller.local.traffic import TrafficOptions
from controller.policy.model import Policy
from controller.profile.ramp import Ramp
from controller.profile.result import profile_of
from controller.simulation.cluster import ClusterSpec, load_cluster
from controller.simulation.demand import Demand
from controller.simulation.fleet import Fleet
from controller.simulation.outcome import tpot_s, ttft_s
from controller.store.reader import StoreReader
from serving.llm import LOCAL_ENGINE

KV_CACHE_TOKENS = 131_072
"""64 MiB at 512 bytes a token: two layers, keys and values, two heads of 32 two-byte numbers."""
PROMPT_MAX, OUTPUT_MAX = 256, 128
FLEETS = ("1", "2", "scaling")
_AFTER_S = 600.0

Steer = Callable[[Fleet], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One stretch of traffic: ``rate`` is mean requests/s."""

    name: str
    replicas: int
    rate: float
    seconds: float
    seed: int


CASES = (
    Case(name="1 replica, moderate", replicas=1, rate=3.0, seconds=120, seed=1),
    Case(name="1 replica, high", replicas=1, rate=5.0, seconds=120, seed=2),
    Case(name="1 replica, overloaded", replicas=1, rate=8.0, seconds=60, seed=3),
    Case(name="2 replicas, moderate", replicas=2, rate=6.0, seconds=120, seed=4),
    Case(name="2 replicas, high", replicas=2, rate=9.0, seconds=120, seed=5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What users got; times in seconds."""

    requests: int
    ttft_p50: float
    ttft_p99: float
    tpot_p50: float
    tpot_p99: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case, live and simulated. ``machine`` is the machine's load average after it."""

    name: str
    live: Served
    simulated: Served
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The fleet changed ``at_s`` seconds after the traffic began: a replica came (ready), or was given up."""

    at_s: float
    came: bool


def excerpt(case: Case) -> list[Arrival]:
    """Requests of a bundled trace, hurried to the wanted rate: its shape and sizes, the longest ones cut."""
    trace, _ = named_trace("azure_conv_2023")
    speed = case.rate * trace.length_s / len(trace)
    options = ScheduleOptions(
        speed=speed,
        start_s=case.seed * 300.0,
        duration_s=case.seconds * speed,
        prompt_tokens_max=PROMPT_MAX,
        output_tokens_max=OUTPUT_MAX,
    )
    return list(arrivals(trace, options))


def fitted(rows: Sequence[RequestRow]) -> IterationTime:
    """Fit the iteration time to the gaps between tokens, as ``foreserve profile`` does."""
    found = profile_of(Ramp(steps=(), rows=(tuple(rows),)))
    if found.iteration is None:
        sys.exit(f"only {found.observations} seconds with tokens were seen")
    tell(f"fitted to {found.observations} seconds; too little spread for: {', '.join(found.assumed) or 'none'}")
    return found.iteration


def cluster_of(time: IterationTime, *, overhead_s: float, startup_s: tuple[float, float]) -> ClusterSpec:
    """Return the local stack as a cluster file describes it."""
    return ClusterSpec.model_validate(
        {
            "replica": {
                "iteration_base_s": time.base_s,
                "per_sequence_s": time.per_sequence_s,
                "per_context_token_s": time.per_context_token_s,
                "per_prefill_token_s": time.per_prefill_token_s,
                "max_num_batched_tokens": LOCAL_ENGINE["max_num_batched_tokens"],
                "max_num_seqs": LOCAL_ENGINE["max_num_seqs"],
                "kv_cache_tokens": KV_CACHE_TOKENS,
                "startup_s": startup_s,
                "overhead_s": overhead_s,
            },
            "limits": {"min_replicas": 1, "max_replicas": 2},
            "clients": {"abandon_s": 300},
            "routing": "round_robin",
        }
    )


def overhead_of(rows: Sequence[RequestRow], time: IterationTime) -> float:
    """Median time to the first token of lone requests, beyond what their prefill takes."""
    beyond = [
        row.ttft_s
        - time.seconds(
            sequences=0.0, context_tokens=0.0, prefill_tokens=row.prompt_tokens_measured or row.prompt_tokens
        )
        for row in rows
        if row.ok and row.ttft_s is not None
    ]
    return max(0.0, float(np.median(beyond)))


def lone_arrivals() -> list[Arrival]:
    """Return requests that never meet: one a second, each over within half of one."""
    return [Arrival(index, 1.0 * index, 32 + 8 * index, 16) for index in range(25)]


def simulated(
    rows: Sequence[RequestRow], cluster: ClusterSpec, *, replicas: int, changes: Sequence[Change] = ()
) -> Served:
    """Simulate the requests as they were sent, with the replicas that were there."""
    sent = sorted((row for row in rows if row.ok), key=lambda row: row.scheduled_s + row.lag_s)
    arrival = np.array([row.scheduled_s + row.lag_s for row in sent])
    demand = Demand(
        arrival_s=arrival,
        prompt_tokens=np.array([row.prompt_tokens_measured or row.prompt_tokens for row in sent]),
        output_tokens=np.array([row.tokens_out for row in sent]),
        length_s=float(arrival[-1]) + 1.0,
    )
    fleet = Fleet(demand, cluster, seed=0, initial=replicas)
    for change in changes:
        fleet.advance(change.at_s)
        if change.came:
            fleet.order(ready_after_s=0.0)
        else:
            fleet.release()
    fleet.advance(demand.length_s + _AFTER_S)
    done = fleet.requests
    return _served(
        ttft_s(done), tpot_s(done)[done.output > 1], int(done.output.sum()), float(done.finish.max() - arrival[0])
    )


def live(rows: Sequence[RequestRow]) -> Served:
    """Sum up what was measured."""
    served = [row for row in rows if row.ok]
    if len(served) < len(rows):
        tell(f"{len(rows) - len(served)} of {len(rows)} requests failed and are left out")
    ttft = np.array([row.ttft_s for row in served], dtype=float)
    tpot = np.array([sum(row.itl_s) / (row.tokens_out - 1) for row in served if row.tokens_out > 1])
    span = max(row.end_s for row in served) - min(row.scheduled_s + row.lag_s for row in served)
    return _served(ttft, tpot, sum(row.tokens_out for row in served), span)


def _served(ttft: np.ndarray, tpot: np.ndarray, tokens: int, seconds: float) -> Served:
    return Served(
        requests=len(ttft),
        ttft_p50=float(np.quantile(ttft, 0.5)),
        ttft_p99=float(np.quantile(ttft, 0.99)),
        tpot_p50=float(np.quantile(tpot, 0.5)),
        tpot_p99=float(np.quantile(tpot, 0.99)),
        tokens_per_s=tokens / seconds,
    )


def held_cases(policy: Policy, replicas: int, cluster: ClusterSpec | None) -> tuple[list[Row], ClusterSpec]:
    """Run the cases with so many replicas; measures the cluster first where it is not known."""
    rows = []
    with live_stack(held_at(policy, replicas)) as stack:
        wait_for_replicas(stack, replicas)
        target = target_of(stack)
        if cluster is None:
            time = fitted(asyncio.run(send(target, varied_arrivals(0, 120.0))))
            lone = asyncio.run(send(target, lone_arrivals()))
            cluster = cluster_of(time, overhead_s=overhead_of(lone, time), startup_s=(30.0, 30.0))
            tell(cluster.replica.model_dump_json())
        for case in CASES:
            if case.replicas == replicas:
                done = asyncio.run(send(target, excerpt(case)))
                rows.append(_row(case.name, done, simulated(done, cluster, replicas=replicas)))
    return rows, cluster


def scaling_case(policy: Policy, cluster: ClusterSpec, seconds: float) -> tuple[Row, list[float]]:
    """Let the controller scale; returns the row and the start-up times that were seen."""
    options = ScheduleOptions(
        speed=120.0,
        rate_scale=TrafficOptions().rate_scale,
        duration_s=120.0 * seconds,
        prompt_tokens_max=PROMPT_MAX,
        output_tokens_max=OUTPUT_MAX,
    )
    with live_stack(policy) as stack:
        wait_for_replicas(stack, 1)
        done = asyncio.run(send(target_of(stack), list(arrivals(named_trace("day_rise_fall")[0], options))))
        began = done[0].at - done[0].scheduled_s
        changes, startups = _changes(stack, began)
    tell(f"replicas changed: {changes}; start-ups {startups}")
    return _row("1 to 2 and back", done, simulated(done, cluster, replicas=1, changes=changes)), startups


def _changes(stack: LocalStack, began: float) -> tuple[list[Change], list[float]]:
    """When replicas came and went, from the controller's records (to the tick)."""
    with StoreReader(stack.files.records) as store:
        records = store.records()
    changes: list[Change] = []
    startups: list[float] = []
    ready = 1
    for record in records:
        deployment = record.deployments[0]
        startups += [start.seconds for start in deployment.snapshot.startups]
        now = ready if deployment.snapshot.replicas is None else deployment.snapshot.replicas.ready
        if now > ready:
            changes += [Change(at_s=record.at - began, came=True)] * (now - ready)
        ready = max(ready, now)
        if deployment.decision.action is Action.SCALE_DOWN:
            gone = deployment.decision.current - deployment.decision.desired
            changes += [Change(at_s=record.at - began, came=False)] * gone
            ready -= gone
    return [change for change in changes if change.at_s > 0.0], startups


def _row(name: str, rows: Sequence[RequestRow], simulation: Served) -> Row:
    row = Row(name=name, live=live(rows), simulated=simulation, machine=machine_load())
    tell(table([row]).splitlines()[-1])
    return row


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table: measured, simulated, error."""
    lines = [
        "| case | requests | TTFT p50, ms | p99, ms | time per token p50, ms | p99, ms | tokens/s | machine's load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        one, other = row.live, row.simulated
        cells = [
            _cell(one.ttft_p50, other.ttft_p50, 1e3),
            _cell(one.ttft_p99, other.ttft_p99, 1e3),
            _cell(one.tpot_p50, other.tpot_p50, 1e3),
            _cell(one.tpot_p99, other.tpot_p99, 1e3),
            _cell(one.tokens_per_s, other.tokens_per_s, 1.0),
        ]
        lines.append(f"| {row.name} | {one.requests} | {' | '.join(cells)} | {row.machine} |")
    return "\n".join(lines)


def _cell(measured: float, simulation: float, unit: float) -> str:
    return f"{measured * unit:.3g} → {simulation * unit:.3g} ({simulation / measured - 1.0:+.0%})"


def tell(text: str) -> None:
    """Say how far it has come."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Print the table and write the cluster file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="Write the cluster file there.")
    parser.add_argument("--cluster", type=Path, help="Take the local engine from this cluster file; do not profile it.")
    parser.add_argument("--fleets", nargs="+", choices=FLEETS, default=FLEETS, help="What to run.")
    given = parser.parse_args()
    policy, _ = local_policy()
    cluster = load_cluster(given.cluster) if given.cluster else None
    rows: list[Row] = []
    startups: list[float] = []
    for fleet in given.fleets if cluster else FLEETS:
        if fleet == "scaling" and cluster:
            row, startups = scaling_case(policy, cluster, 240.0)
            rows.append(row)
        else:
            found, cluster = held_cases(policy, int(fleet), cluster)
            rows += found
    if cluster is None:
        return
    if startups:
        replica = cluster.replica.model_copy(update={"startup_s": (min(startups), max(startups))})
        cluster = cluster.model_copy(update={"replica": replica})
    text = io.StringIO()
    YAML().dump(cluster.model_dump(mode="json"), text)
    if given.out:
        given.out.write_text(text.getvalue())
    print(text.getvalue())
    print(table(rows))


if __name__ == "__main__":
    main()
