"""The assignment problem: classes of replicas to be placed, kinds of hosts to place them on, and limits.

Replicas that are alike in everything that matters are one class, hosts one kind, so that the problem stays
small however large the fleet. Time is counted in **tiers**: tier i is the i-th moment by which some worker
must be ready. What is ready in tier t serves a class of tier c in time when t <= c; the tier after the last
one is late for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.identity import DeploymentId
from controller.domain.pools import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ReplicaClass:
    """``count`` interchangeable replicas of ``gpus`` each; ``members`` says whose they are."""

    accelerator: Accelerator
    tier: int
    gpus: int
    strict: bool
    weight: int
    count: int
    members: tuple[tuple[DeploymentId, int], ...]

    @property
    def value(self) -> int:
        """What leaving one of them out costs: its GPUs, weighted."""
        return self.weight * self.gpus

    @property
    def piece(self) -> int:
        """GPUs that it needs in one worker."""
        return self.gpus if self.strict else 1


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """Free GPUs of one worker, and the tier in which it is ready."""

    accelerator: Accelerator
    gpus: int
    tier: int


Piece = tuple[Accelerator, int, int]
"""Accelerator, tier and size of a part of a slot that one replica takes."""


@dataclass(frozen=True, slots=True, order=True)
class ExistingWorker:
    """A worker on a host with its free GPUs."""

    group: str
    free_gpus: int
    tier: int


class Origin(StrEnum):
    """Where a host comes from."""

    IN_USE = "in_use"
    """It exists and stays, whatever is planned."""
    EMPTY = "empty"
    """It exists, and may go when nothing needs it."""
    COMING = "coming"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKind:
    """At most ``count`` like nodes. A new worker on one of their ``room`` GPUs is ready in ``room_tier``.

    ``names`` are those of nodes that exist.
    """

    pool: str
    accelerator: Accelerator
    origin: Origin
    count: int
    gpus: int
    cost: float
    priority: int
    workers: tuple[ExistingWorker, ...]
    room: int
    room_tier: int
    groups: tuple[str, ...]
    """Groups whose workers fit into the room, sorted."""
    names: tuple[str, ...] = ()

    @property
    def optional(self) -> bool:
        """Whether the plan may do without it."""
        return self.origin is not Origin.IN_USE

    @property
    def sort_key(self) -> tuple[object, ...]:
        """Canonical order: what stays first, then by priority and cost."""
        origin = tuple(Origin).index(self.origin)
        return (origin, self.priority, self.cost, self.pool, self.room_tier, self.room, self.workers, self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimit:
    """Workers that may be added to a group, and how many it lacks to its least on hosts that stay."""

    name: str
    gpus: int
    left: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One assignment problem, in canonical order.

    ``cost_left`` and ``gpus_left`` bound what new nodes may add up to (None: no limit). ``missing_nodes`` are
    those that a pool lacks to its least without its optional hosts.
    """

    classes: tuple[ReplicaClass, ...]
    hosts: tuple[HostKind, ...]
    groups: tuple[GroupLimit, ...]
    tiers: int
    cost_left: float | None
    gpus_left: int | None
    missing_nodes: Mapping[str, int]

    def group(self, name: str) -> GroupLimit:
        """One group's limit, by name."""
        return next(group for group in self.groups if group.name == name)

    def piece_sizes(self, accelerator: Accelerator) -> tuple[int, ...]:
        """Sizes that replicas take of a slot, ascending: single GPUs for those that may span workers."""
        wanted = [replicas for replicas in self.classes if replicas.accelerator == accelerator]
        return tuple(sorted({replicas.piece for replicas in wanted}))


@dataclass(frozen=True, slots=True)
class Load:
    """GPUs of one worker that go to a replica of a class. A replica that may span workers can be several loads."""

    replica_class: int
    gpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUse:
    """What is placed on one worker. ``gpus`` are those it had free before."""

    group: str
    gpus: int
    tier: int
    new: bool
    loads: tuple[Load, ...]


@dataclass(frozen=True, slots=True)
class HostUse:
    """One host of a kind that is kept, taken, or ordered, and the workers on it that are new or get loads."""

    host: int
    workers: tuple[WorkerUse, ...]


@dataclass(frozen=True, slots=True)
class Packing:
    """A whole assignment: one entry for each host that is used, and for each optional one that is kept or ordered."""

    hosts: tuple[HostUse, ...]
