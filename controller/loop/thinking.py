"""From snapshots to a plan, whoever took the snapshots and whoever acts on the plan."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.override import Override
from controller.domain.snapshot import Snapshot
from controller.domain.state import PlannerState
from controller.loop.experience import EngineWorkOf, experienced
from controller.loop.foresight import Foresight, HistoryOf
from controller.loop.outlook import lead_times, plan_inputs, work_included
from controller.loop.step_timer import StepTimer
from controller.planner.decide import Plan, PlanInput, decide
from controller.policy.model import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """Everything that one plan rests on: planning again from it gives the same plan."""

    at: float
    policy: Policy
    inputs: tuple[PlanInput, ...]
    state: PlannerState


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What came of one tick's thinking: the snapshots with demand as work, the plan, and the memory after it.

    ``considered`` is what the plan was made from.
    """

    snapshots: tuple[Snapshot, ...]
    plan: Plan
    state: PlannerState
    considered: Considered


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
) -> Thought:
    """Learn, forecast and decide, once a tick; call ``foresight.record`` before. ``snapshots`` are in policy order.

    ``engine_work_of`` tells what a deployment's engines did; ``history_of`` a signal's recent past.
    """
    with timer.step("learn"):
        snapshots, state = experienced(policy, snapshots, state, engine_work_of=engine_work_of, now=now)
    with timer.step("forecast"):
        inputs = plan_inputs(
            policy,
            snapshots,
            lead_times(policy, state, snapshots),
            state=state,
            history_of=history_of,
            foresight=foresight,
            now=now,
            overrides=overrides,
        )
        foresight.tend(now, history_of=work_included(policy, state, foresight.histories.history))
    with timer.step("decide"):
        considered = Considered(at=now, policy=policy, inputs=inputs, state=state)
        plan, state = decide(inputs, state, now=now, budget=policy.budget)
    return Thought(snapshots=snapshots, plan=plan, state=state, considered=considered)
