"""Replicas that start early: on nodes that are kept for what is foreseen, and paid for either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.plan import Decision
from controller.domain.state import DeploymentMemory
from controller.planner.budget import spared
from controller.planner.decide import PlanInput
from controller.planner.overridden import covering
from controller.planner.shared import bid_of, resources_of
from controller.policy.model import Budget


def startable(given: PlanInput, decision: Decision, memory: DeploymentMemory, *, now: float) -> int:
    """Return how many replicas may run where there are nodes for them, at least what was decided.

    A node that is kept for what is foreseen is paid for, so a replica on it costs nothing more and is ready sooner.
    ``memory`` is that after ``layer_needs``: what nodes are kept for because replicas were decided does not count, or
    one would hold the other. Not while somebody asks for something else, and nobody is woken by it.
    """
    current, desired, limits = decision.current, decision.desired, given.policy.limits
    if current is None or not desired or given.policy.paused or covering(given.overrides, decision.id, now):
        return desired or 0
    kept = max((replicas for _, replicas in dict(memory.ahead).get(Layer.NODE, ())), default=0)
    return max(desired, min(kept, limits.max_replicas, current + limits.max_step_up))


def within_budget(
    wanted: Mapping[DeploymentId, int],
    inputs: Sequence[PlanInput],
    decisions: Sequence[Decision],
    memories: Mapping[DeploymentId, DeploymentMemory],
    budget: Budget,
) -> Mapping[DeploymentId, int]:
    """Return how many of the replicas that are ``startable`` the budget pays for, after all that was decided.

    Nothing while somebody wants what is not free. ``memories`` are those after the decisions.
    """
    bids = [
        bid_of(
            given.policy,
            given.snapshot,
            given.capacity,
            memories[decision.id],
            budget,
            wanted=next((step for step in reversed(decision.steps) if step.stage != "budget"), None),
            gpu_price=given.gpu_price,
        )
        for given, decision in zip(inputs, decisions, strict=True)
    ]
    return spared(bids, wanted, resources_of(budget))
