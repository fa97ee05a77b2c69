"""The same demand under several policies, each on its own fleet with the same luck."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from controller.policy.load import LoadedPolicy
from controller.simulation.cluster import ClusterSpec
from controller.simulation.comparison import (
    COMPARISON_SCHEMA,
    Comparison,
    PolicyRow,
    SweepPoint,
    policy_row,
    sweep_point,
)
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.driver import Progress, Run, run_policy
from controller.simulation.oracle import Hindsight, find_oracle, least_static, look_back
from controller.simulation.outcome import Objectives
from controller.simulation.past import Past
from controller.simulation.peers.catalogue import Peer

Report = Callable[[str], Progress]
"""Told the name of the work that begins; what it returns is told its progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What is replayed. ``policies`` are the controller's, by the name they are shown under."""

    title: str
    command: str
    demand: Demand
    cluster: ClusterSpec
    objectives: Objectives
    attainment: float
    policies: Sequence[tuple[str, LoadedPolicy]]
    peers: Sequence[Peer]
    seeds: int
    past: Past | None = None
    origin: float | None = None
    """Unix time of the demand's second 0, where it is known."""
    startup_sweep: Sequence[float] = ()
    """Start-up times, in seconds, for which everything is replayed once more."""


def replay(plan: ReplayPlan, report: Report) -> Comparison:
    """Run the oracle, then each policy, for each seed.

    Every policy begins with the smallest static fleet that would have kept the attainment, all ready: what an
    operator sized before handing over.
    """
    demand, cluster, objectives = plan.demand, plan.cluster, plan.objectives
    hindsight = look_back(demand, cluster, objectives=objectives, progress=report("fixed fleets"))
    static = least_static(hindsight, demand, cluster, objectives=objectives, attainment=plan.attainment)
    rows = _rows(plan, hindsight, static, report)
    return Comparison(
        schema=COMPARISON_SCHEMA,
        title=plan.title,
        command=plan.command,
        requests=len(demand),
        length_s=demand.length_s,
        ttft_objective_s=objectives.ttft_s,
        tpot_objective_s=objectives.tpot_s,
        attainment_objective=plan.attainment,
        policies=rows,
        sweep=tuple(_sweep(plan, hindsight, static, report)),
    )


def _rows(plan: ReplayPlan, hindsight: Hindsight, static: int, report: Report) -> tuple[PolicyRow, ...]:
    """The oracle, then each policy, for each seed."""
    seeds = range(1, plan.seeds + 1)
    best = [
        find_oracle(
            hindsight,
            plan.demand,
            plan.cluster,
            seed=seed,
            objectives=plan.objectives,
            attainment=plan.attainment,
            progress=report(f"oracle, seed {seed}"),
        ).run
        for seed in seeds
    ]
    runs = [best]
    runs += [[_controlled(plan, one, seed, static, report) for seed in seeds] for one in plan.policies]
    runs += [[_peer(plan, one, seed, static, report) for seed in seeds] for one in plan.peers]
    return tuple(policy_row(one, [run.cost.gpu_hours for run in best]) for one in runs)


def _sweep(plan: ReplayPlan, hindsight: Hindsight, static: int, report: Report) -> Iterator[SweepPoint]:
    """All of it again for each start-up time, one seed each: nothing is drawn any more."""
    for startup_s in plan.startup_sweep:
        replica = plan.cluster.replica.model_copy(update={"startup_s": (startup_s, startup_s)})
        fixed = replace(plan, cluster=plan.cluster.model_copy(update={"replica": replica}), seeds=1)
        shown = partial(_with_startup, report, startup_s)
        yield sweep_point(startup_s, _rows(fixed, hindsight, static, shown))


def _with_startup(report: Report, startup_s: float, name: str) -> Progress:
    return report(f"{name.removesuffix(', seed 1')}, start-up {startup_s:g} s")


def _controlled(plan: ReplayPlan, policy: tuple[str, LoadedPolicy], seed: int, static: int, report: Report) -> Run:
    name, loaded = policy
    return run_control_loop(
        loaded,
        plan.demand,
        plan.cluster,
        name=name,
        seed=seed,
        initial=static,
        objectives=plan.objectives,
        past=plan.past,
        origin=plan.origin,
        progress=report(f"{name}, seed {seed}"),
    )


def _peer(plan: ReplayPlan, peer: Peer, seed: int, static: int, report: Report) -> Run:
    policy = peer.policy(static, plan.cluster, plan.objectives)
    return run_policy(
        policy,
        plan.demand,
        plan.cluster,
        seed=seed,
        initial=static,
        objectives=plan.objectives,
        progress=report(f"{policy.name}, seed {seed}"),
    )
