"""The same demand under several policies, each on its own fleet with the same luck."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.policy.load import LoadedPolicy
from controller.simulation.cluster import ClusterSpec
from controller.simulation.comparison import COMPARISON_SCHEMA, Comparison, policy_row
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.driver import Progress, Run, run_policy
from controller.simulation.oracle import find_oracle, least_static, look_back
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


def replay(plan: ReplayPlan, report: Report) -> Comparison:
    """Run the oracle, then each policy, for each seed.

    Every policy begins with the smallest static fleet that would have kept the attainment, all ready: what an
    operator sized before handing over.
    """
    demand, cluster, objectives = plan.demand, plan.cluster, plan.objectives
    hindsight = look_back(demand, cluster, objectives=objectives, progress=report("fixed fleets"))
    static = least_static(hindsight, demand, cluster, objectives=objectives, attainment=plan.attainment)
    seeds = range(1, plan.seeds + 1)
    best = [
        find_oracle(
            hindsight,
            demand,
            cluster,
            seed=seed,
            objectives=objectives,
            attainment=plan.attainment,
            progress=report(f"oracle, seed {seed}"),
        ).run
        for seed in seeds
    ]
    rows = [best]
    rows += [[_controlled(plan, one, seed, static, report) for seed in seeds] for one in plan.policies]
    rows += [[_peer(plan, one, seed, static, report) for seed in seeds] for one in plan.peers]
    return Comparison(
        schema=COMPARISON_SCHEMA,
        title=plan.title,
        command=plan.command,
        requests=len(demand),
        length_s=demand.length_s,
        ttft_objective_s=objectives.ttft_s,
        tpot_objective_s=objectives.tpot_s,
        attainment_objective=plan.attainment,
        policies=tuple(policy_row(runs, [run.cost.gpu_hours for run in best]) for runs in rows),
    )


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
