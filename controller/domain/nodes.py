"""GPU nodes that exist, and what is on each of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.workers import Worker


class NodeState(StrEnum):
    """Whether workers can be scheduled to a node."""

    STARTING = "starting"
    """It was created and has not become ready."""
    READY = "ready"
    DRAINING = "draining"
    """Cordoned, being drained, or about to be reclaimed: what runs there must be replaced elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node. ``since`` is when it was created (Unix seconds); ``foreign_gpus`` are held by other pods.

    ``ready_at`` is when it last became ready, None where that is not known or has not happened.
    """

    name: str
    pool: str
    zone: str
    gpus: int
    state: NodeState
    since: float
    workers: tuple[Worker, ...] = ()
    foreign_gpus: int = 0
    ready_at: float | None = None

    @property
    def free_gpus(self) -> int:
        """GPUs that no pod holds, where another worker could be scheduled."""
        return self.gpus - self.foreign_gpus - sum(worker.gpus for worker in self.workers)

    @property
    def in_use(self) -> bool:
        """Whether a replica, in whatever state, or a pod of somebody else is on it."""
        return self.foreign_gpus > 0 or any(worker.occupants for worker in self.workers)
