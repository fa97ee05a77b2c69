"""The cluster's part of a tick: plan it, tell what is to be set, set it, and note what was ordered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep
from controller.domain.cluster_record import ClusterRecord
from controller.domain.layer import Layer
from controller.domain.placement import ClusterInput, ClusterPlan
from controller.domain.plan import Decision, OutcomeStatus
from controller.domain.pools import NodePool
from controller.domain.state import PlannerState
from controller.domain.workers import WorkerGroup
from controller.loop.acting import Standby
from controller.loop.ground import Ground
from controller.loop.layer_acting import LayerActs, Levers, Refusal, confirmed
from controller.loop.thinking import Thought
from controller.planner.decide import Plan
from controller.planner.housing import housed
from controller.planner.placement import Effort, plan_cluster
from controller.planner.placement.order import in_layer_order
from controller.planner.supply.leads import supply_leads
from controller.planner.supply.ledger import note
from controller.planner.supply.orders import placed_orders
from controller.planner.supply.standing import standings
from controller.planner.supply.summary import groups_seen, pools_seen
from controller.policy.model import Mode
from controller.ports import Clock, ClusterObserver, Consent

_SHARE_OF_INTERVAL, _AT_MOST_S = 0.2, 5.0
"""Of one tick's time, for each of the two problems of a plan."""
_ACTING = (Mode.DIRECT, Mode.GUIDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterParts:
    """What sees the cluster, and what sets its layers; nothing of both where there is none."""

    observer: ClusterObserver | None = None
    levers: Levers = field(default_factory=dict)

    async def close(self) -> None:
        """Release the levers; the observer is released by who looks."""
        for levers in self.levers.values():
            for lever in levers:
                await lever.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCluster:
    """One tick's plan of the cluster: what it was made from, and what is to be set, replicas included."""

    ground: Ground
    given: ClusterInput
    plan: ClusterPlan
    thought: Thought
    steps: tuple[LayerStep, ...]
    acts: LayerActs
    solve_s: float

    @property
    def found(self) -> ClusterFound:
        """What was found, with replicas on the workers: what the levers are given."""
        return replace(self.ground.found, nodes=self.given.nodes)

    def record(
        self, state: PlannerState, outcomes: Sequence[LayerOutcome], *, now: float, before: ClusterRecord | None = None
    ) -> ClusterRecord:
        """Return the record's part; ``before`` is that of the same plan before anything was done."""
        if before is not None:
            return replace(before, outcomes=tuple(outcomes), standings=standings(state.supply, now=now))
        found = self.ground.found
        return ClusterRecord(
            pools=pools_seen(self.given, found),
            groups=groups_seen(self.given.groups, self.given.nodes, found.groups),
            needs=self.thought.asked.needs,
            elsewhere=tuple((name, count) for name, count in sorted(self.ground.elsewhere.items()) if count),
            plan=self.plan,
            steps=self.steps,
            outcomes=tuple(outcomes),
            standings=standings(state.supply, now=now),
            verdicts=self.given.verdicts,
            leads=supply_leads(state.supply),
            unseen=self.ground.unseen,
            frozen=found.frozen,
            problems=self.ground.problems,
            solve_s=self.solve_s,
        )

    def refusal(self, mode: Mode, standby: Standby, problem: str | None, consent: Consent | None = None) -> Refusal:
        """What keeps a step from being done: the mode, another leader, a store that fails, an upgrade, no word yet.

        In approve mode (``consent``) nodes are handed over to workers when all workers that are to come may come.
        """
        coming = [step for step in self.acts.steps if step.up and step.layer is Layer.WORKER]

        def ask(step: LayerStep) -> LayerOutcome | None:
            if mode not in _ACTING and not (mode is Mode.APPROVE and consent is not None):
                why = "" if mode is Mode.ADVISORY else "nodes and workers are set in direct, guided and approve mode"
                return _outcome(step, OutcomeStatus.ADVISED, why)
            if other := standby():
                return _outcome(step, OutcomeStatus.STANDBY, other)
            if problem is not None and not step.up:
                return _outcome(step, OutcomeStatus.REFUSED, problem)
            if step.layer is Layer.WORKER and self.ground.found.frozen is not None:
                return _outcome(step, OutcomeStatus.REFUSED, self.ground.found.frozen)
            return None if mode is not Mode.APPROVE or consent is None else _objection(step, consent, coming)

        return ask

    def consented(self, outcomes: Sequence[LayerOutcome], consent: Consent) -> tuple[LayerOutcome, ...]:
        """Note what came of the steps that were approved, and say so in their outcomes."""
        said: list[LayerOutcome] = []
        for step in self.acts.steps:
            mine = [one for one in outcomes if (one.layer, one.name) == (step.layer, step.name)]
            asked = any(one.status in {OutcomeStatus.AWAITING, OutcomeStatus.STANDBY} for one in mine)
            said += mine if asked or step.hands_over else consent.done(step, mine)
        return tuple(said)

    def noted(self, state: PlannerState, outcomes: Sequence[LayerOutcome], *, now: float) -> PlannerState:
        """Remember what was really ordered."""
        done = confirmed(self.acts.steps, outcomes)
        groups = self.ground.found.groups or ()
        orders = placed_orders(self.plan, self.given, state.supply, groups, done, now=now)
        return replace(state, supply=note(state.supply, orders))


async def planned(
    ground: Ground,
    thought: Thought,
    before: PlannerState,
    levers: Levers,
    *,
    mode: Mode,
    interval_s: float,
    clock: Clock,
    now: float,
) -> tuple[PlannedCluster, Plan, PlannerState]:
    """Plan the cluster, in a thread so that nothing else waits, and give replicas what has a place.

    ``before`` is the memory before the thought. The search for a plan ends by its own limits.
    """
    given = replace(ground.given, demands=thought.asked.demands)
    effort = Effort(seconds=min(_AT_MOST_S, _SHARE_OF_INTERVAL * interval_s))
    began = clock.monotonic()
    try:
        plan = await asyncio.to_thread(plan_cluster, given, now=now, effort=effort)
    # A mistake in here must not keep replicas from being scaled.
    except Exception as error:  # noqa: BLE001
        plan = ClusterPlan(held=f"planning failed, nodes and workers stay: {type(error).__name__}: {error}")
    solve_s = clock.monotonic() - began
    return on_ground(ground, given, plan, thought=thought, before=before, levers=levers, mode=mode, solve_s=solve_s)


def on_ground(
    ground: Ground,
    given: ClusterInput,
    plan: ClusterPlan,
    *,
    thought: Thought,
    before: PlannerState,
    levers: Levers,
    mode: Mode,
    solve_s: float,
) -> tuple[PlannedCluster, Plan, PlannerState]:
    """Give replicas what has a place in a plan, and say what is to be set."""
    if mode is Mode.GUIDED:
        plan = opened(plan, given)
    decided, state = housed(
        thought.plan,
        thought.state,
        before,
        plan,
        ground.elsewhere,
        now=thought.considered.at,
        max_age_s=thought.considered.policy.control.max_signal_age_s,
        startable=thought.asked.startable,
    )
    steps = _steps(ground.found, plan, decided.decisions)
    acts = LayerActs(tuple(step for step in steps if step.layer is not Layer.REPLICA), levers)
    cluster = PlannedCluster(
        ground=ground, given=given, plan=plan, thought=thought, steps=steps, acts=acts, solve_s=solve_s
    )
    return cluster, decided, state


def opened(plan: ClusterPlan, given: ClusterInput) -> ClusterPlan:
    """Let worker groups grow beyond the plan: Serve's own autoscaler may need it when the controller is gone.

    Each up to the policy's most; where there is a budget, one worker of each group after the other, as long as what
    the plan leaves of the budget pays for it in the dearest pool that it may run in.
    """
    groups = {group.name: group for group in given.groups}
    most = {target.group: target.max_workers for target in plan.groups}
    left = _left_of_budget(plan, given)
    costs = {name: (group.gpus_per_worker, _dearest(group, given.pools)) for name, group in groups.items()}
    growing = [name for name in sorted(most) if name in groups]
    while growing:
        growing = [name for name in growing if most[name] < groups[name].max_workers and left.pays(*costs[name])]
        for name in growing:
            if left.pays(*costs[name]):
                left = left.less(*costs[name])
                most[name] += 1
    return replace(plan, groups=tuple(replace(target, max_workers=most[target.group]) for target in plan.groups))


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a budget."""

    gpus: float
    cost: float

    def pays(self, gpus: int, cost: float) -> bool:
        return gpus <= self.gpus and cost <= self.cost

    def less(self, gpus: int, cost: float) -> _Left:
        return _Left(self.gpus - gpus, self.cost - cost)


def _left_of_budget(plan: ClusterPlan, given: ClusterInput) -> _Left:
    pools = {pool.name: pool for pool in given.pools}
    nodes = [(pools[target.pool], target.nodes) for target in plan.pools if target.pool in pools]
    gpus, cost = given.budget.gpus, given.budget.cost_per_hour
    return _Left(
        math.inf if gpus is None else gpus - sum(pool.gpus_per_node * count for pool, count in nodes),
        math.inf if cost is None else cost - sum(pool.node_cost * count for pool, count in nodes),
    )


def _dearest(group: WorkerGroup, pools: Iterable[NodePool]) -> float:
    """Cost per hour of one worker where it costs most."""
    able = (
        pool
        for pool in pools
        if pool.accelerator == group.accelerator and (not group.node_pools or pool.name in group.node_pools)
    )
    return max((pool.node_cost / pool.gpus_per_node * group.gpus_per_worker for pool in able), default=0.0)


def _steps(found: ClusterFound, plan: ClusterPlan, decisions: Sequence[Decision]) -> tuple[LayerStep, ...]:
    bounds = {group.name: (group.min_workers, group.max_workers) for group in found.groups or ()}
    return in_layer_order(plan, decisions, bounds=bounds, warm=None if found.warm is None else dict(found.warm))


def _objection(step: LayerStep, consent: Consent, coming: Iterable[LayerStep]) -> LayerOutcome | None:
    if not step.hands_over:
        return consent.objection(step)
    waits = next((one for worker in coming if (one := consent.objection(worker)) is not None), None)
    return None if waits is None else _outcome(step, waits.status, f"{waits.layer.value} {waits.name} first")


def _outcome(step: LayerStep, status: OutcomeStatus, detail: str) -> LayerOutcome:
    return LayerOutcome(layer=step.layer, name=step.name, status=status, detail=detail)
