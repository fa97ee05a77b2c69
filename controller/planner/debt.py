"""How much of late a deployment missed its objectives: its claim to more of a shared budget."""

from __future__ import annotations

import math
from dataclasses import replace

from controller.domain.reading import Known
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.policy.model import Objectives

_FADES_OVER_S = 600.0


def with_debt(memory: DeploymentMemory, snapshot: Snapshot, promised: Objectives, *, now: float) -> DeploymentMemory:
    """Remember the miss of now (0 none, 1 twice the objective or worse), fading over ten minutes.

    What is unknown changes nothing.
    """
    miss = _miss(snapshot, promised)
    if miss is None:
        return memory
    if memory.slo_debt_at is None:
        return replace(memory, slo_debt_at=now)
    weight = 1.0 - math.exp(-max(0.0, now - memory.slo_debt_at) / _FADES_OVER_S)
    return replace(memory, slo_debt=memory.slo_debt + weight * (miss - memory.slo_debt), slo_debt_at=now)


def _miss(snapshot: Snapshot, promised: Objectives) -> float | None:
    if snapshot.idle:
        return 0.0
    if _nobody_serves(snapshot):
        return 1.0
    measured = ((snapshot.latency.ttft_p95_s, promised.ttft_s), (snapshot.latency.itl_p95_s, promised.itl_s))
    misses = [reading.value / goal - 1.0 for reading, goal in measured if isinstance(reading, Known)]
    if isinstance(snapshot.shed_per_s, Known) and snapshot.shed_per_s.value > 0:
        return 1.0
    return min(1.0, max(0.0, *misses)) if misses else None


def _nobody_serves(snapshot: Snapshot) -> bool:
    door = snapshot.at_the_door
    knocked = isinstance(door, Known) and door.value > 0
    return knocked and snapshot.replicas is not None and snapshot.replicas.ready == 0
