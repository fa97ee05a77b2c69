"""From snapshots to a plan, whoever took the snapshots and whoever acts on the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.cluster_record import LayerNeed
from controller.domain.identity import DeploymentId
from controller.domain.override import Override
from controller.domain.placement import ReplicaDemand
from controller.domain.snapshot import Snapshot
from controller.domain.state import PlannerState
from controller.loop.experience import EngineWorkOf, experienced
from controller.loop.foresight import Foresight, HistoryOf
from controller.loop.ground import Ground
from controller.loop.outlook import ahead_of, lead_times, plan_inputs, work_included
from controller.loop.step_timer import StepTimer
from controller.planner.decide import Plan, PlanInput, decide
from controller.planner.early import startable, within_budget
from controller.planner.needs import Ahead, demand_of, layer_needs, weights
from controller.policy.model import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """Everything that one plan rests on: planning again from it gives the same plan.

    ``ground`` is the cluster, where one is seen, and ``ahead`` what is foreseen at the horizons of its layers.
    """

    at: float
    policy: Policy
    inputs: tuple[PlanInput, ...]
    state: PlannerState
    ground: Ground | None = None
    ahead: Mapping[DeploymentId, tuple[Ahead, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What each layer is to carry for a plan of replicas, and the memory after it.

    ``demands`` is what is asked of the cluster. As many replicas as ``startable`` may run where nodes are kept for
    them, and paid for.
    """

    state: PlannerState
    needs: tuple[LayerNeed, ...] = ()
    demands: tuple[ReplicaDemand, ...] = ()
    startable: Mapping[DeploymentId, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What came of one tick's thinking: the snapshots with demand as work, the plan, and the memory after it.

    ``considered`` is what the plan was made from, ``asked`` what it asks of the cluster, where one is seen.
    """

    snapshots: tuple[Snapshot, ...]
    plan: Plan
    state: PlannerState
    considered: Considered
    asked: Asked


def think(
    policy: Policy,
    snapshots: tuple[Snapshot, ...],
    state: PlannerState,
    *,
    engine_work_of: EngineWorkOf,
    history_of: HistoryOf,
    foresight: Foresight,
    now: float,
    timer: StepTimer,
    overrides: tuple[Override, ...] = (),
    ground: Ground | None = None,
) -> Thought:
    """Learn, forecast and decide, once a tick; call ``foresight.record`` before. ``snapshots`` are in policy order.

    ``engine_work_of`` tells what a deployment's engines did; ``history_of`` a signal's recent past; ``ground`` is the
    cluster, where one is seen, with its news in the state already.
    """
    with timer.step("learn"):
        snapshots, state = experienced(policy, snapshots, state, engine_work_of=engine_work_of, now=now)
    with timer.step("forecast"):
        inputs = plan_inputs(
            policy,
            snapshots,
            lead_times(policy, state, snapshots, ground),
            state=state,
            history_of=history_of,
            foresight=foresight,
            now=now,
            overrides=overrides,
            ground=ground,
        )
        ahead = _ahead(policy, inputs, ground, state=state, history_of=history_of, foresight=foresight, now=now)
        foresight.tend(now, history_of=work_included(policy, state, foresight.histories.history))
    with timer.step("decide"):
        considered = Considered(at=now, policy=policy, inputs=inputs, state=state, ground=ground, ahead=ahead)
        plan, state = decide(inputs, state, now=now, budget=policy.budget)
        asked = asked_of_layers(policy, inputs, plan, ahead, ground=ground, state=state, now=now)
    return Thought(snapshots=snapshots, plan=plan, state=asked.state, considered=considered, asked=asked)


def _ahead(
    policy: Policy,
    inputs: Sequence[PlanInput],
    ground: Ground | None,
    *,
    state: PlannerState,
    history_of: HistoryOf,
    foresight: Foresight,
    now: float,
) -> Mapping[DeploymentId, tuple[Ahead, ...]]:
    """What is foreseen at each layer's horizon, of every deployment that is placed."""
    if ground is None:
        return {}
    return {
        one.snapshot.id: ahead_of(
            one,
            below,
            state=state,
            history_of=history_of,
            foresight=foresight,
            interval_s=policy.control.interval_s,
            now=now,
        )
        for one in inputs
        if (below := ground.chains.get(one.snapshot.id)) is not None
    }


def asked_of_layers(
    policy: Policy,
    inputs: Sequence[PlanInput],
    plan: Plan,
    ahead: Mapping[DeploymentId, tuple[Ahead, ...]],
    *,
    ground: Ground | None,
    state: PlannerState,
    now: float,
) -> Asked:
    """Return what a plan of replicas asks of workers and nodes; nothing without a cluster."""
    if ground is None:
        return Asked(state=state)
    counts = weights({one.id: (one.priority, one.weight) for one in policy.deployments})
    memories = dict(state.deployments)
    found: list[LayerNeed] = []
    demands: list[ReplicaDemand] = []
    starts: dict[DeploymentId, int] = {}
    for given, decision in zip(inputs, plan.decisions, strict=True):
        name = decision.id
        if name not in ahead:
            continue
        needs, memories[name] = layer_needs(given, decision, ahead[name], memories[name], now=now)
        found += needs
        starts[name] = startable(given, decision, memories[name], now=now)
        demands.append(
            demand_of(
                ground.shapes[name],
                needs,
                replica_s=needs[0].due_s,
                elsewhere=ground.elsewhere.get(name, 0),
                weight=counts[name],
            )
        )
    memory = tuple(sorted(memories.items(), key=lambda entry: entry[0]))
    return Asked(
        state=replace(state, deployments=memory),
        needs=tuple(found),
        demands=tuple(demands),
        startable=starts
        if policy.budget is None
        else within_budget(starts, inputs, plan.decisions, memories, policy.budget),
    )
