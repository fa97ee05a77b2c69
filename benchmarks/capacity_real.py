"""Predicted sustainable load of a real replica against what a ramp on it finds.

Starts the local stack (Ray Serve, HAProxy, vLLM on CPU) with one replica; the controller learns from its counters
while requests of varied rates and sizes come. Then, for each workload, it first says what the replica will carry (from
the learned iteration time and the workload's mean sizes, before any of it was sent), and then tries loads from a third
of the full load to beyond it. What the replica really carries is where the share of late requests passes one in twenty;
the shares are made to rise with the load first (isotonic regression), as half a minute at one load says little.

    python -m benchmarks.capacity_real --runs 2
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from benchmarks.live_stack import (
    held_at,
    live_stack,
    local_policy,
    machine_load,
    poisson_arrivals,
    send,
    target_of,
    varied_arrivals,
    wait_for_replicas,
    with_deployment,
)
from controller.domain.capacity import CapacityMemory
from controller.load.row import RequestRow
from controller.load.target import Target
from controller.local.stack import LocalStack
from controller.planner.capacity.iteration import iteration_time
from controller.planner.capacity.mix import TokenMix
from controller.planner.capacity.safety import bucket_of, evidence_for, safe_utilisation, utilisation_at
from controller.planner.capacity.sustainable import EngineLimits, FullLoad, full_load
from controller.policy.model import DeploymentPolicy, Objectives, Policy
from controller.store.reader import StoreReader

OBJECTIVES = Objectives(ttft_s=1.0, itl_s=0.05)
"""What the local engine can promise: it takes some 15 ms per token, and eight requests at a time."""
LATE_SHARE = 0.05
"""What objectives are: promises at the 95th percentile."""
SHARES = (0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
"""Loads of the ramp, as shares of the predicted full load."""
_SETTLING = 0.25
"""Share of a step at its begin that is not judged: the batch is still filling."""
_SIZE_VARIATION = 1.5**2 / 12.0
"""Squared variation of sizes between a quarter and seven quarters of their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Mean sizes of requests, in tokens."""

    name: str
    prompt_tokens: int
    output_tokens: int

    @property
    def mix(self) -> TokenMix:
        """The same as the planner sees it."""
        return TokenMix(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            context_tokens=self.prompt_tokens + self.output_tokens * (1.0 + _SIZE_VARIATION) / 2.0,
        )


WORKLOADS = (
    Workload(name="chat", prompt_tokens=192, output_tokens=96),
    Workload(name="long prompts", prompt_tokens=768, output_tokens=32),
    Workload(name="long answers", prompt_tokens=64, output_tokens=192),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load of the ramp, and how many of its requests missed an objective."""

    offered_rps: float
    requests: int
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload of one run; loads in requests/s. ``machine`` is the machine's load average after the ramp."""

    run: int
    workload: str
    full: FullLoad
    predicted: float
    planned: float
    found: float
    machine: str

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted / self.found - 1.0


def learning_policy() -> Policy:
    """Return the local policy with one replica that is learned from, and the objectives of this benchmark."""
    policy, deployment = local_policy()
    capacity = deployment.capacity.model_copy(update={"learn": True, "iteration": None})
    return held_at(with_deployment(policy, capacity=capacity, objectives=OBJECTIVES), 1)


def learned(stack: LocalStack, deployment: DeploymentPolicy) -> CapacityMemory:
    """Return what the controller has learned so far, from its checkpoint."""
    with StoreReader(stack.files.records) as store:
        found = store.load()
    memory = found[0].memory(deployment.id).capacity if found else None
    if memory is None or not memory.estimates:
        sys.exit("the controller has learned nothing; see its log")
    return memory


def predicted(
    memory: CapacityMemory, workload: Workload, deployment: DeploymentPolicy
) -> tuple[FullLoad, float, float]:
    """Return the full load, the load with one request in twenty late, and the load that would be planned for."""
    capacity = deployment.capacity
    limits = EngineLimits(
        kv_cache_tokens=capacity.kv_cache_tokens,
        max_num_seqs=capacity.max_num_seqs,
        max_num_batched_tokens=capacity.max_num_batched_tokens,
    )
    full = full_load(
        iteration_time(memory.estimates[0]),
        workload.mix,
        limits,
        ttft_s=deployment.objectives.ttft_s,
        tpot_s=deployment.objectives.itl_s,
    )
    planned = safe_utilisation(evidence_for((), bucket_of(full.mix)), full, 1)
    return full, utilisation_at(LATE_SHARE, full, 1) * full.requests_per_s, planned * full.requests_per_s


def one_run(number: int, *, learn_s: float, step_s: float) -> list[Row]:
    """Learn, predict and ramp on a fresh stack."""
    policy = learning_policy()
    (deployment,) = policy.deployments
    with live_stack(policy) as stack:
        wait_for_replicas(stack, 1)
        target = target_of(stack)
        asyncio.run(send(target, varied_arrivals(number, learn_s)))
        memory = learned(stack, deployment)
        print(_words(memory), flush=True)
        forecasts = [predicted(memory, workload, deployment) for workload in WORKLOADS]
        rows = []
        for workload, (full, load, planned) in zip(WORKLOADS, forecasts, strict=True):
            steps = asyncio.run(ramped(workload, target, full.requests_per_s, step_s=step_s, seed=number))
            rows.append(
                Row(
                    run=number,
                    workload=workload.name,
                    full=full,
                    predicted=load,
                    planned=planned,
                    found=crossing(steps, LATE_SHARE),
                    machine=machine_load(),
                )
            )
            print(table(rows[-1:]).splitlines()[-1], flush=True)
        return rows


async def ramped(workload: Workload, target: Target, full: float, *, step_s: float, seed: int) -> list[Step]:
    """Send a step of Poisson arrivals at each load; each begins when the one before has drained."""
    steps = []
    for number, share in enumerate(SHARES):
        arrivals = poisson_arrivals(
            np.random.default_rng([seed, number]),
            rate=share * full,
            seconds=step_s,
            prompt_tokens=workload.prompt_tokens,
            output_tokens=workload.output_tokens,
            first=(number + 1) * 1_000_003,
        )
        rows = [row for row in await send(target, arrivals) if row.scheduled_s >= _SETTLING * step_s]
        late = sum(not _kept(row) for row in rows)
        offered = len(rows) / ((1.0 - _SETTLING) * step_s)
        steps.append(Step(offered_rps=offered, requests=len(rows), late=late))
        print(f"  {offered:.2f} requests/s: {late} of {len(rows)} late", file=sys.stderr, flush=True)
    return steps


def _kept(row: RequestRow) -> bool:
    pace = sum(row.itl_s) / max(row.tokens_out - 1, 1)
    return row.ok and row.ttft_s is not None and row.ttft_s <= OBJECTIVES.ttft_s and pace <= OBJECTIVES.itl_s


def crossing(steps: Sequence[Step], share: float) -> float:
    """Return the load at which the share late passes ``share``, the shares made monotone; NaN where it never does."""
    ordered = sorted(steps, key=lambda step: step.offered_rps)
    loads = np.array([step.offered_rps for step in ordered])
    monotone = IsotonicRegression().fit_transform(
        loads, [step.late / step.requests for step in ordered], sample_weight=[step.requests for step in ordered]
    )
    above = np.flatnonzero(monotone > share)
    if not len(above) or above[0] == 0:
        return float("nan")
    after = int(above[0])
    before = after - 1
    part = (share - monotone[before]) / (monotone[after] - monotone[before])
    return float(loads[before] + part * (loads[after] - loads[before]))


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = [
        "| run | workload | full load, requests/s | predicted | ramp finds | error | planned for | machine's load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.run} | {row.workload} | {row.full.requests_per_s:.2f} | {row.predicted:.2f} "
        f"| {row.found:.2f} | {row.error:+.0%} | {row.planned:.2f} | {row.machine} |"
        for row in rows
    ]
    return "\n".join(lines)


def _words(memory: CapacityMemory) -> str:
    estimate = memory.estimates[0]
    base, sequence, context, prefill = iteration_time(estimate).coefficients
    return (
        f"learned from {estimate.intervals} intervals: {base * 1e3:.2f} ms + {sequence * 1e3:.3f} ms/sequence + "
        f"{context * 1e6:.2f} us/context token + {prefill * 1e3:.4f} ms/prefill token (noise {estimate.noise:.0%})"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--learn", type=float, default=240.0, metavar="SECONDS")
    parser.add_argument("--step", type=float, default=30.0, metavar="SECONDS")
    given = parser.parse_args()
    runs = [one_run(number + 1, learn_s=given.learn, step_s=given.step) for number in range(given.runs)]
    print(table(list(itertools.chain.from_iterable(runs))))


if __name__ == "__main__":
    main()
