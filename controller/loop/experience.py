"""What a tick teaches about the engines, and demand as work by what is known of them now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.capacity import Experience, learn, with_work
from controller.policy.model import DeploymentPolicy, Policy
from controller.window.engine_work import EngineWork

EngineWorkOf = Callable[[DeploymentPolicy, float], EngineWork]


def experienced(
    policy: Policy, snapshots: Sequence[Snapshot], state: PlannerState, *, engine_work_of: EngineWorkOf, now: float
) -> tuple[tuple[Snapshot, ...], PlannerState]:
    """Learn from every deployment's engines; return the snapshots with demand as work, and the new state."""
    rules = {deployment.id: deployment for deployment in policy.deployments}
    memories: dict[DeploymentId, DeploymentMemory] = dict(state.deployments)
    worked = []
    for snapshot in snapshots:
        rule, memory = rules[snapshot.id], state.memory(snapshot.id)
        if rule.capacity.learn:
            memory = _learned(rule, snapshot, memory, engine_work_of(rule, now), now)
            memories[snapshot.id] = memory
        worked.append(with_work(snapshot, rule, memory.capacity))
    return tuple(worked), replace(state, deployments=tuple(sorted(memories.items(), key=lambda entry: entry[0])))


def _learned(
    rule: DeploymentPolicy, snapshot: Snapshot, memory: DeploymentMemory, seen: EngineWork, now: float
) -> DeploymentMemory:
    experience = Experience(
        at=now,
        digest=snapshot.config_digest,
        intervals=seen.intervals,
        outcomes=seen.outcomes,
        work=with_work(snapshot, rule, memory.capacity).reading(Signal.WORK),
        ready=None if snapshot.replicas is None else snapshot.replicas.ready,
    )
    return replace(memory, capacity=learn(memory.capacity, experience, rule))
