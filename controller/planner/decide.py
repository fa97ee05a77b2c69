"""From snapshots to a plan: size, then stabilise, then limit, each deployment by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.forecast import Forecast, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.plan import (
    Action,
    Capacity,
    Conflict,
    Decision,
    Order,
    Outcome,
    OutcomeStatus,
    Reason,
    Step,
)
from controller.domain.signals import Signal
from controller.domain.snapshot import NOT_DEPLOYED, Snapshot
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.lead import recent_starts
from controller.planner.ledger import in_order, ordered, review
from controller.planner.limit import limit
from controller.planner.ownership import Claim, accepted, claim, predates_our_write, read_at
from controller.planner.size import size
from controller.planner.stabilise import stabilise
from controller.policy.model import DeploymentPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInput:
    """Everything one deployment's decision rests on, besides memory."""

    snapshot: Snapshot
    policy: DeploymentPolicy
    lead: LeadTime
    capacity: Capacity
    forecasts: tuple[Forecast, ...]
    forecast_unavailable: str | None
    sustained: Mapping[Signal, float] = field(default_factory=dict)
    """Means over the last minutes, for signals whose full load is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decisions in the order of the inputs; ledger and conflicts sorted by deployment."""

    decisions: tuple[Decision, ...]
    ledger: tuple[Order, ...]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class _Verdict:
    decision: Decision
    memory: DeploymentMemory
    conflict: Conflict | None = None


def decide(inputs: Sequence[PlanInput], state: PlannerState, *, now: float) -> tuple[Plan, PlannerState]:
    """Decide every deployment by itself, and review the ledger.

    The same arguments give the same plan, and no deployment's decision depends on another or on the
    order of ``inputs``. Memory of deployments that are no longer planned is dropped.
    """
    verdicts = [_decide(given, state.memory(given.snapshot.id), now) for given in inputs]
    snapshots = {given.snapshot.id: given.snapshot for given in inputs}
    unread = {name for name, snapshot in snapshots.items() if predates_our_write(snapshot, state.memory(name))}
    ledger = review(state.ledger, snapshots, not_read_since=unread, now=now)
    conflicts = [verdict.conflict for verdict in verdicts if verdict.conflict is not None]
    plan = Plan(
        decisions=tuple(verdict.decision for verdict in verdicts),
        ledger=ledger,
        conflicts=tuple(sorted(conflicts, key=lambda conflict: conflict.id)),
    )
    return plan, _state({verdict.decision.id: verdict.memory for verdict in verdicts}, ledger)


def note_outcomes(
    state: PlannerState,
    plan: Plan,
    outcomes: Sequence[Outcome],
    snapshots: Sequence[Snapshot],
    *,
    now: float,
) -> PlannerState:
    """Remember what was really set, and order the capacity that was really asked for.

    Call once per plan. Only an APPLIED outcome is ours; one that was neither confirmed nor refused
    stays attempted, so that a target that turns up later is not mistaken for somebody else's.
    """
    decisions = {decision.id: decision for decision in plan.decisions}
    observed = {snapshot.id: snapshot for snapshot in snapshots}
    memories = dict(state.deployments)
    ledger = list(state.ledger)
    for outcome in outcomes:
        decision = decisions[outcome.id]
        memory = state.memory(outcome.id)
        memories[outcome.id] = _noted(memory, decision, outcome, observed[outcome.id], now)
        if outcome.status is OutcomeStatus.APPLIED and (order := ordered(decision, now=now)):
            ledger.append(order)
    return _state(memories, in_order(ledger))


def _state(memories: dict[DeploymentId, DeploymentMemory], ledger: tuple[Order, ...]) -> PlannerState:
    return PlannerState(deployments=tuple(sorted(memories.items(), key=lambda entry: entry[0])), ledger=ledger)


def _decide(given: PlanInput, memory: DeploymentMemory, now: float) -> _Verdict:
    memory = replace(memory, startup_seconds=recent_starts(memory, given.snapshot))
    current = given.snapshot.target_replicas
    if given.snapshot.status == NOT_DEPLOYED:
        gone = DeploymentMemory(startup_seconds=memory.startup_seconds, capacity=memory.capacity)
        return _Verdict(_decision(given, None, Action.NONE, (), Reason.NOT_DEPLOYED), gone)
    if current is None:
        return _Verdict(_decision(given, None, Action.NONE, (), Reason.NO_DATA), replace(memory, known_since=None))
    claimed = claim(given.snapshot, current, memory, now=now)
    steps, memory = _stages(given, claimed, current, now)
    desired = steps[-1].replicas
    action = _action(desired, current, claimed)
    if action is not Action.NONE:
        memory = replace(memory, attempted=desired)
    elif claimed.reset_from is not None:
        memory = accepted(memory, given.snapshot, current)
    return _Verdict(_decision(given, desired, action, steps, steps[-1].reason), memory, claimed.conflict)


def _stages(given: PlanInput, claimed: Claim, current: int, now: float) -> tuple[tuple[Step, ...], DeploymentMemory]:
    """Each stage's step, and the memory after them. The limits start from the live target itself."""
    policy = given.policy
    sizing = size(
        given.snapshot,
        given.capacity,
        given.forecasts,
        quantile=policy.forecast.target_quantile,
        forecast_unavailable=given.forecast_unavailable,
        current=claimed.base,
        sustained=given.sustained,
    )
    stable, memory = stabilise(
        sizing, given.snapshot, claimed.memory, policy.stabilisation, current=claimed.base, now=now
    )
    final = limit(stable, current=current, limits=policy.limits, paused=policy.paused)
    return (sizing.reactive, sizing.forecast, stable, final), memory


def _action(desired: int, current: int, claimed: Claim) -> Action:
    if desired == current:
        return Action.NONE
    if desired == claimed.reset_from:
        return Action.REASSERT
    return Action.SCALE_UP if desired > current else Action.SCALE_DOWN


def _decision(
    given: PlanInput, desired: int | None, action: Action, steps: tuple[Step, ...], binding: Reason
) -> Decision:
    return Decision(
        id=given.snapshot.id,
        current=given.snapshot.target_replicas,
        desired=desired,
        action=action,
        binding=binding,
        steps=steps,
        lead=given.lead,
        capacity=given.capacity,
        forecasts=given.forecasts,
        forecast_unavailable=given.forecast_unavailable,
    )


def _noted(
    memory: DeploymentMemory, decision: Decision, outcome: Outcome, snapshot: Snapshot, now: float
) -> DeploymentMemory:
    if outcome.status is OutcomeStatus.APPLIED and decision.desired is not None:
        return replace(
            memory,
            last_set=decision.desired,
            last_set_at=now,
            last_set_digest=snapshot.config_digest,
            last_set_seen_at=read_at(snapshot),
            attempted=None,
            foreign_since=None,
            above_since=None,
            dips=0,
        )
    if outcome.status in (OutcomeStatus.ADVISED, OutcomeStatus.REFUSED):
        return replace(memory, attempted=None)
    return memory
