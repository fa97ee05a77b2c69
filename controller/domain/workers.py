"""Ray workers and what runs on them: how many GPUs a replica takes, and how these may lie."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.identity import DeploymentId
from controller.domain.pools import Accelerator


class Packing(StrEnum):
    """How a replica's GPUs may lie, as Ray's placement groups name it."""

    STRICT_PACK = "strict_pack"
    """All of them in one worker, hence on one node."""
    PACK = "pack"
    """Together where possible, else over several workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaShape:
    """The GPUs of one replica."""

    accelerator: Accelerator
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    packing: Packing = Packing.STRICT_PACK

    @property
    def gpus(self) -> int:
        """GPUs of one replica: tensor times pipeline parallel size."""
        return self.tensor_parallel * self.pipeline_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """A RayCluster worker group: one pod template, between two numbers of workers.

    ``node_pools`` are the pools that its pods may be scheduled to; empty means every pool of its accelerator.
    """

    name: str
    accelerator: Accelerator
    gpus_per_worker: int
    min_workers: int
    max_workers: int
    node_pools: tuple[str, ...] = ()


class ReplicaState(StrEnum):
    """What a replica that holds GPUs is doing."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """GPUs of one worker that one replica holds. A replica over several workers is an occupant of each."""

    replica: str
    deployment: DeploymentId
    gpus: int
    state: ReplicaState


class WorkerState(StrEnum):
    """Whether a scheduled worker can take replicas."""

    STARTING = "starting"
    READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One worker pod that is scheduled to a node.

    ``since`` is when it was scheduled (Unix seconds); when it was created, when its image was there and when it
    became ready is None where that is not known or has not happened. ``address`` is its pod's IP, by which Serve's
    replicas are matched.
    """

    name: str
    group: str
    gpus: int
    state: WorkerState
    since: float
    occupants: tuple[Occupant, ...] = ()
    created_at: float | None = None
    image_pulled_at: float | None = None
    ready_at: float | None = None
    address: str | None = None

    @property
    def free_gpus(self) -> int:
        """GPUs that no replica holds."""
        return self.gpus - sum(occupant.gpus for occupant in self.occupants)
