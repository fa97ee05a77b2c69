"""From snapshots to a plan: size, stabilise, drain and limit each deployment, then divide what all of them share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.forecast import Forecast, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.override import Override
from controller.domain.plan import (
    Action,
    BudgetUse,
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
from controller.domain.supply import SupplyLedger
from controller.planner.announced import announced, with_usual
from controller.planner.backlog import backlog, with_run_time
from controller.planner.capacity import is_learning
from controller.planner.capacity.error_budget import careful
from controller.planner.debt import with_debt
from controller.planner.drain import drained
from controller.planner.lead import with_starts
from controller.planner.ledger import in_order, ordered, review
from controller.planner.limit import limit
from controller.planner.overridden import covering, overridden, reactive_only
from controller.planner.ownership import Claim, accepted, claim, predates_our_write, read_at
from controller.planner.shared import bid_of, budget_steps, budget_use
from controller.planner.size import Sizing, size
from controller.planner.stabilise import stabilise
from controller.planner.zero import from_zero, may_rest, to_zero, watched
from controller.policy.model import Budget, DeploymentPolicy
from controller.policy.schedule import events_within

_NOTHING_ASKED = (OutcomeStatus.ADVISED, OutcomeStatus.AWAITING, OutcomeStatus.STANDBY, OutcomeStatus.REFUSED)


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
    """Means: over minutes of signals whose full load is known, else over half a minute of what is in flight."""
    brief: bool = False
    """Whether the mean of what is in flight rests on less than half a minute."""
    interval_s: float = 0.0
    """Seconds until the next decision."""
    gpu_price: float | None = None
    """What one GPU costs an hour, where that is known."""
    overrides: tuple[Override, ...] = ()
    """What is asked for, for any deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Decisions in the order of the inputs; ledger and conflicts sorted by deployment."""

    decisions: tuple[Decision, ...]
    ledger: tuple[Order, ...]
    conflicts: tuple[Conflict, ...]
    budget: tuple[BudgetUse, ...] = ()


@dataclass(frozen=True, slots=True)
class _Draft:
    """One deployment's stages; no ``claimed`` and no steps where there is no opinion, for ``reason``."""

    given: PlanInput
    memory: DeploymentMemory
    reason: Reason
    steps: tuple[Step, ...] = ()
    claimed: Claim | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    decision: Decision
    memory: DeploymentMemory
    conflict: Conflict | None = None


def decide(
    inputs: Sequence[PlanInput], state: PlannerState, *, now: float, budget: Budget | None = None
) -> tuple[Plan, PlannerState]:
    """Decide every deployment by itself, divide the budget if there is one, and review the ledger.

    The same arguments give the same plan, whatever the order of ``inputs``, and without a budget no deployment's
    decision depends on another. Memory of deployments that are no longer planned is dropped.
    """
    inputs = [_as_asked(given, now) for given in inputs]
    drafts = [_draft(given, state.memory(given.snapshot.id), now) for given in inputs]
    used: tuple[BudgetUse, ...] = ()
    if budget is not None:
        drafts, used = _shared(drafts, budget, now)
    verdicts = [_verdict(draft) for draft in drafts]
    snapshots = {given.snapshot.id: given.snapshot for given in inputs}
    unread = {name for name, snapshot in snapshots.items() if predates_our_write(snapshot, state.memory(name))}
    ledger = review(state.ledger, snapshots, not_read_since=unread, now=now)
    conflicts = [verdict.conflict for verdict in verdicts if verdict.conflict is not None]
    plan = Plan(
        decisions=tuple(verdict.decision for verdict in verdicts),
        ledger=ledger,
        conflicts=tuple(sorted(conflicts, key=lambda conflict: conflict.id)),
        budget=used,
    )
    return plan, _state({verdict.decision.id: verdict.memory for verdict in verdicts}, ledger, state.supply)


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
    return _state(memories, in_order(ledger), state.supply)


def _state(
    memories: dict[DeploymentId, DeploymentMemory], ledger: tuple[Order, ...], supply: SupplyLedger
) -> PlannerState:
    deployments = tuple(sorted(memories.items(), key=lambda entry: entry[0]))
    return PlannerState(deployments=deployments, ledger=ledger, supply=supply)


def _as_asked(given: PlanInput, now: float) -> PlanInput:
    """Keep what is asked for of this deployment now; leave the forecast out where that is asked."""
    asked = covering(given.overrides, given.snapshot.id, now)
    given = replace(given, overrides=asked)
    unused = reactive_only(asked)
    return given if unused is None else replace(given, forecasts=(), forecast_unavailable=unused)


def _draft(given: PlanInput, memory: DeploymentMemory, now: float) -> _Draft:
    memory = with_starts(memory, given.snapshot, given.policy)
    current = given.snapshot.target_replicas
    if given.snapshot.status == NOT_DEPLOYED:
        gone = DeploymentMemory(
            startup_seconds=memory.startup_seconds,
            cold_startup_seconds=memory.cold_startup_seconds,
            capacity=memory.capacity,
        )
        return _Draft(given, gone, Reason.NOT_DEPLOYED)
    if current is None:
        return _Draft(given, replace(memory, known_since=None), Reason.NO_DATA)
    memory = with_run_time(memory, given.snapshot)
    claimed = claim(given.snapshot, current, memory, now=now)
    steps, memory = _stages(given, claimed, current, now)
    return _Draft(given, memory, steps[-1].reason, steps, claimed)


def _shared(drafts: Sequence[_Draft], budget: Budget, now: float) -> tuple[list[_Draft], tuple[BudgetUse, ...]]:
    """Add what the budget allows each deployment; also tell how it is used."""
    indebted = [_indebted(draft, now) for draft in drafts]
    wanted = {draft.given.snapshot.id: draft.steps[-1] for draft in indebted if draft.steps}
    bids = [
        bid_of(
            draft.given.policy,
            draft.given.snapshot,
            draft.given.capacity,
            draft.memory,
            budget,
            wanted=wanted.get(draft.given.snapshot.id),
            gpu_price=draft.given.gpu_price,
        )
        for draft in indebted
    ]
    added = budget_steps(bids, wanted, budget)
    bounded = [
        replace(draft, steps=(*draft.steps, step), reason=step.reason)
        if (step := added.get(draft.given.snapshot.id))
        else draft
        for draft in indebted
    ]
    return bounded, budget_use(bids, budget)


def _indebted(draft: _Draft, now: float) -> _Draft:
    given = draft.given
    return replace(draft, memory=with_debt(draft.memory, given.snapshot, given.policy.objectives, now=now))


def _verdict(draft: _Draft) -> _Verdict:
    given, memory, claimed = draft.given, draft.memory, draft.claimed
    current = given.snapshot.target_replicas
    if claimed is None or current is None:
        return _Verdict(_decision(given, None, Action.NONE, (), draft.reason), memory)
    desired = draft.steps[-1].replicas
    action = _action(desired, current, claimed)
    if action is not Action.NONE:
        memory = replace(memory, attempted=desired)
    elif claimed.reset_from is not None:
        memory = accepted(memory, given.snapshot, current)
    return _Verdict(_decision(given, desired, action, draft.steps, draft.reason), memory, claimed.conflict)


def _stages(given: PlanInput, claimed: Claim, current: int, now: float) -> tuple[tuple[Step, ...], DeploymentMemory]:
    """Each stage's step, and the memory after them. The limits start from the live target itself."""
    policy, learned = given.policy, claimed.memory.capacity
    sizing = size(
        given.snapshot,
        given.capacity,
        given.forecasts,
        quantile=careful(
            policy.forecast.target_quantile,
            learned.record if learned else None,
            allowed=policy.forecast.allowed_misses,
        ),
        forecast_unavailable=given.forecast_unavailable,
        current=claimed.base,
        sustained=given.sustained,
        backlog=backlog(given.snapshot, claimed.memory),
    )
    sizing, memory = _scheduled(given, sizing, claimed.memory, now)
    stable, memory = stabilise(
        sizing,
        given.snapshot,
        memory,
        policy.stabilisation,
        current=claimed.base,
        now=now,
        learning=is_learning(policy, learned),
    )
    steps = [*sizing.steps, stable]
    draining, memory = drained(stable, given.snapshot, given.capacity, policy, memory, current=claimed.base, now=now)
    steps += [draining] if draining else []
    zero, memory = _zero(given, steps[-1], sizing, memory, current=claimed.base, now=now)
    steps += [zero] if zero else []
    asked = overridden(steps[-1], given.overrides, current=current, base=claimed.base, limits=policy.limits)
    if asked is not None:
        if asked.replicas > steps[-1].replicas:
            # The moment that was waited for is gone by the time that this ends.
            memory = replace(memory, drain_since=None)
        steps += [asked]
    final = limit(steps[-1], current=current, limits=policy.limits, paused=policy.paused)
    return (*steps, final), memory


def _zero(
    given: PlanInput, wanted: Step, sizing: Sizing, memory: DeploymentMemory, *, current: int, now: float
) -> tuple[Step | None, DeploymentMemory]:
    """Judge going to zero and coming from it, where the policy allows zero."""
    rule, snapshot = given.policy.scale_to_zero, given.snapshot
    if rule is None:
        return None, memory
    memory = watched(memory, snapshot, now=now)
    load_ahead = _load_ahead(given)
    if current == 0:
        return from_zero(wanted, sizing, snapshot, memory, load_ahead=load_ahead, now=now), memory
    if not may_rest(wanted, sizing, load_ahead=load_ahead):
        return None, memory
    near = events_within(given.policy.events, now, _ahead_s(given))
    return to_zero(rule, snapshot, memory, given.lead, near, now=now), memory


def _scheduled(
    given: PlanInput, sizing: Sizing, memory: DeploymentMemory, now: float
) -> tuple[Sizing, DeploymentMemory]:
    """Add what is announced."""
    events = given.policy.events
    if not events:
        return sizing, memory
    memory = with_usual(memory, events, given.snapshot, given.capacity, now=now)
    step = announced(sizing, events, given.capacity, usual_load=memory.usual_load, now=now, ahead_s=_ahead_s(given))
    return sizing.at_least(step), memory


def _ahead_s(given: PlanInput) -> float:
    """How early an event is acted on: the slowest replicas, the upscale delay, and the steps on the way."""
    limits = given.policy.limits
    steps = math.ceil(limits.max_replicas / limits.max_step_up)
    return given.lead.p95_s + given.policy.stabilisation.upscale_delay_s + steps * given.interval_s


def _load_ahead(given: PlanInput) -> float:
    """Full replicas that the forecast would fill; 0 without one."""
    quantile, per_replica = given.policy.forecast.target_quantile, given.capacity.per_replica
    loads = (one.quantile(quantile) / per_replica[one.signal] for one in given.forecasts if one.signal in per_replica)
    return max(loads, default=0.0)


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
    if outcome.status in _NOTHING_ASKED:
        return replace(memory, attempted=None)
    return memory
