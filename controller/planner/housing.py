"""Replicas last: a raise goes only as far as there are places for it, and the rest waits for workers and nodes.

Where nodes are kept for what is foreseen, replicas are started on them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from controller.domain.identity import DeploymentId
from controller.domain.placement import ClusterPlan
from controller.domain.plan import Action, Decision, Reason, Step
from controller.domain.state import PlannerState
from controller.planner.decide import Plan


def housed(
    plan: Plan,
    state: PlannerState,
    before: PlannerState,
    cluster: ClusterPlan,
    elsewhere: Mapping[DeploymentId, int],
    *,
    now: float,
    max_age_s: float,
    startable: Mapping[DeploymentId, int] = MappingProxyType({}),
) -> tuple[Plan, PlannerState]:
    """Bound what is asked of Serve by the places on workers that run or are started now; say what the rest waits for.

    Never below the live target: what has no place is not asked for, but nothing that was is taken back. While the
    cluster is not planned, because it is unknown, the places of the last plan count, if it is at most ``max_age_s``
    old; workers that nobody has planned would order nodes beside those that are on their way. After that nothing is
    bounded; nor is a deployment of which replicas serve ``elsewhere``, for then there are places that are not known.
    ``before`` is the memory before the plan was made. Up to ``startable`` replicas run where there are places for them,
    also when fewer were decided.
    """
    places = dict(cluster.housed)
    memories = dict(state.deployments)
    decisions = []
    for decision in plan.decisions:
        name, bounded = decision.id, decision
        if cluster.held is not None:
            if (last := state.memory(name).places) is not None and now - last[0] <= max_age_s:
                awaited = f"{cluster.held}; {last[1]} had a place {now - last[0]:.0f} s ago"
                bounded = _bounded(decision, last[1], awaited)
        else:
            known = name in places and not elsewhere.get(name, 0)
            if known:
                bounded = _bounded(decision, places[name], _awaited(name, cluster))
                bounded = _filled(bounded, min(places[name], startable.get(name, 0)))
            if known or state.memory(name).places is not None:
                memories[name] = replace(state.memory(name), places=(now, places[name]) if known else None)
        if bounded.desired != decision.desired:
            earlier = before.memory(name).attempted
            asked = earlier if bounded.action is Action.NONE else bounded.desired
            memories[name] = replace(memories[name], attempted=asked)
            if (bounded.desired or 0) > (decision.desired or 0):
                # The moment that was waited for is gone by the time that the node is given up.
                memories[name] = replace(memories[name], drain_since=None)
        decisions.append(bounded)
    deployments = tuple(sorted(memories.items(), key=lambda entry: entry[0]))
    return replace(plan, decisions=tuple(decisions)), replace(state, deployments=deployments)


def _bounded(decision: Decision, places: int, awaited: str) -> Decision:
    current, desired = decision.current, decision.desired
    if current is None or desired is None or desired <= current:
        return decision
    if desired <= places:
        step = Step("place", desired, decision.binding, f"{places} have a place on workers that run or start")
        return replace(decision, steps=(*decision.steps, step))
    granted = max(current, places)
    detail = f"{desired - granted} of {desired} wait for workers: {awaited}"
    return replace(
        decision,
        desired=granted,
        action=Action.NONE if granted == current else decision.action,
        binding=Reason.NO_PLACE,
        steps=(*decision.steps, Step("place", granted, Reason.NO_PLACE, detail)),
    )


def _filled(decision: Decision, filled: int) -> Decision:
    current, desired = decision.current, decision.desired
    if current is None or desired is None or filled <= desired:
        return decision
    action = Action.NONE if filled == current else Action.SCALE_UP if filled > current else Action.SCALE_DOWN
    detail = f"{filled - desired} more than the {desired} on nodes that are kept for what is foreseen"
    return replace(
        decision,
        desired=filled,
        action=action,
        binding=Reason.NODE_READY,
        steps=(*decision.steps, Step("place", filled, Reason.NODE_READY, detail)),
    )


def _awaited(deployment: DeploymentId, cluster: ClusterPlan) -> str:
    unplaced = next((one for one in cluster.unplaced if one.id == deployment), None)
    if unplaced is not None:
        return f"{unplaced.replicas} have no place at all: {unplaced.detail}"
    coming = [target for target in cluster.pools if target.coming or target.new]
    if coming:
        pools = ", ".join(f"{target.coming + target.new} of {target.pool}" for target in coming)
        return f"nodes are ordered or coming ({pools})"
    return "nodes are starting"
