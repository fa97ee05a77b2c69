"""What another policy would have decided, from the same observations and the same memory. Touches nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.decisions.beneath import Beneath, Placed, ahead_under, beneath, placed
from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.plan import BudgetUse, Decision
from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.state import PlannerState
from controller.loop.ground import Ground, regrounded
from controller.loop.outlook import lead_times
from controller.loop.thinking import Considered
from controller.planner.capacity import capacity, with_work
from controller.planner.decide import Plan, PlanInput, decide
from controller.planner.size import sizing_signals
from controller.policy.model import DeploymentPolicy, Policy

_SAME_LEAD = 0.05
"""A lead time that differs by no more than this share needs no other forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One deployment under both policies; ``notes`` say where the answer is less than a tick's would be."""

    id: DeploymentId
    before: Decision
    after: Decision
    notes: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether another number of replicas comes out."""
        return self.before.desired != self.after.desired


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Both plans, deployment by deployment. ``unseen`` are only in the new policy, ``gone`` only in the old one.

    ``beneath`` are nodes and workers; None where neither policy plans any.
    """

    at: float
    differences: tuple[Difference, ...]
    unseen: tuple[DeploymentId, ...]
    gone: tuple[DeploymentId, ...]
    budget_before: tuple[BudgetUse, ...]
    budget_after: tuple[BudgetUse, ...]
    beneath: Beneath | None = None


def what_if(considered: Considered, policy: Policy) -> WhatIf:
    """Plan once more from what the last plan rests on, with another policy.

    Lead time, capacity and every stage follow the new policy. Forecasts are those that were made: a new quantile is
    read off them, another lead time is not foreseen anew, which a note says.
    """
    given = {one.snapshot.id: one for one in considered.inputs}
    wanted = {one.id: one for one in policy.deployments}
    ground, notes = _ground(considered, policy)
    adapted = {
        name: _adapted(one, wanted[name], considered.state, policy=policy, ground=ground)
        for name, one in given.items()
        if name in wanted
    }
    inputs = [one for one, _ in adapted.values()]
    before, state = decide(considered.inputs, considered.state, now=considered.at, budget=considered.policy.budget)
    after, new_state = decide(inputs, considered.state, now=considered.at, budget=policy.budget)
    old_cluster: Placed | None = None
    new_cluster: Placed | None = None
    if considered.ground is not None:
        old_cluster = placed(
            considered.policy,
            considered.inputs,
            before,
            state,
            considered.ahead,
            ground=considered.ground,
            considered=considered,
        )
        before = old_cluster.plan
    if ground is not None:
        ahead, missing = ahead_under(considered, inputs, ground)
        notes = (*notes, *missing)
        new_cluster = placed(policy, inputs, after, new_state, ahead, ground=ground, considered=considered)
        after = new_cluster.plan
    old, new = _by_name(before), _by_name(after)
    return WhatIf(
        at=considered.at,
        differences=tuple(
            Difference(id=name, before=old[name], after=new[name], notes=notes) for name, (_, notes) in adapted.items()
        ),
        unseen=tuple(sorted(wanted.keys() - given.keys())),
        gone=tuple(sorted(given.keys() - wanted.keys())),
        budget_before=before.budget,
        budget_after=after.budget,
        beneath=beneath(old_cluster, new_cluster, notes),
    )


def _ground(considered: Considered, policy: Policy) -> tuple[Ground | None, tuple[str, ...]]:
    """The cluster under the new policy, and why there is none, or what of its pools is amiss."""
    if considered.ground is None:
        unseen = policy.cluster is not None
        return None, ("no cluster was seen in the last tick, so nodes and workers are not planned",) if unseen else ()
    ground = regrounded(considered.ground, policy, considered.state.supply, now=considered.at)
    if ground is None:
        return None, ("the edited policy plans no nodes and workers: they would stay as they are",)
    return ground, ground.problems


def _by_name(plan: Plan) -> dict[DeploymentId, Decision]:
    return {decision.id: decision for decision in plan.decisions}


def _adapted(
    given: PlanInput, deployment: DeploymentPolicy, state: PlannerState, *, policy: Policy, ground: Ground | None
) -> tuple[PlanInput, tuple[str, ...]]:
    """The same input under another policy, and what could not be carried over."""
    memory = state.memory(given.snapshot.id)
    snapshot = with_work(given.snapshot, deployment, memory.capacity)
    work = snapshot.reading(Signal.WORK)
    carried = capacity(deployment, memory.capacity, work=work.value if isinstance(work, Known) else None)
    only = policy.model_copy(update={"deployments": (deployment,)})
    lead = lead_times(only, state, (snapshot,), ground)[deployment.id]
    enabled = deployment.forecast.enabled
    unavailable = given.forecast_unavailable if enabled else "switched off by the policy"
    kept = given.forecasts if enabled else ()
    adapted = replace(
        given,
        snapshot=snapshot,
        policy=deployment,
        lead=lead,
        capacity=carried,
        forecasts=kept,
        forecast_unavailable=unavailable,
        sustained={signal: mean for signal, mean in given.sustained.items() if signal in carried.per_replica},
        interval_s=policy.control.interval_s,
        gpu_price=policy.gpu_price(deployment),
    )
    return adapted, _notes(given, adapted)


def _notes(given: PlanInput, adapted: PlanInput) -> tuple[str, ...]:
    notes = []
    if adapted.policy.forecast.enabled and not given.policy.forecast.enabled:
        notes.append("no forecast was made under the present policy, so only measured demand counts here")
    elif adapted.forecasts and not _same(given.lead, adapted.lead):
        now_s, then_s = given.lead.p90_s, adapted.lead.p90_s
        notes.append(f"the forecasts are for the present lead time of {now_s:.3g} s, not for {then_s:.3g} s")
    foreseen = {forecast.signal for forecast in adapted.forecasts}
    signals = sizing_signals(adapted.snapshot, adapted.capacity)
    missing = [signal.value for signal in signals if signal not in foreseen]
    if foreseen and missing:
        notes.append(f"of {', '.join(sorted(missing))} there is no forecast here, only what was measured")
    return tuple(notes)


def _same(one: LeadTime, other: LeadTime) -> bool:
    return abs(one.p90_s - other.p90_s) <= _SAME_LEAD * one.p90_s
