"""Where replicas are to run: what is asked of the cluster, and the answer for pools and worker groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node
from controller.domain.pools import NodePool, PoolVerdict
from controller.domain.workers import ReplicaShape, WorkerGroup


@dataclass(frozen=True, slots=True)
class WantedBy:
    """So many replicas in all are to be ready ``due_s`` seconds from now."""

    due_s: float
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDemand:
    """What one deployment wants, for each layer's lead.

    ``wanted`` has one entry for each horizon: the replica's own lead, with a worker's before it, with a
    node's before that. ``replica_lead_s`` is the part of each ``due_s`` that a replica needs once it has
    its GPUs. In a shortage a GPU counts ``weight`` times.
    """

    id: DeploymentId
    shape: ReplicaShape
    replica_lead_s: float
    wanted: tuple[WantedBy, ...]
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that all pools together may cost per hour, and the most GPUs they may have; None: no limit."""

    cost_per_hour: float | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLeads:
    """How long a pool's node takes from order to ready, and a worker on it from its creation to ready."""

    pool: str
    node: LeadTime
    worker: LeadTime


@dataclass(frozen=True, slots=True, kw_only=True)
class ComingNodes:
    """Nodes of a pool that are ordered, expected at ``expected_at`` (Unix seconds), and do not exist yet."""

    pool: str
    nodes: int
    expected_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInput:
    """Everything that one plan of the cluster rests on. ``nodes`` is None while they are unknown."""

    demands: tuple[ReplicaDemand, ...]
    pools: tuple[NodePool, ...]
    groups: tuple[WorkerGroup, ...]
    nodes: tuple[Node, ...] | None
    leads: tuple[PoolLeads, ...]
    coming: tuple[ComingNodes, ...] = ()
    verdicts: tuple[PoolVerdict, ...] = ()
    budget: Budget = Budget()
    pending: tuple[tuple[str, int], ...] = ()
    """Workers of each group that exist and have no node: each asks for one itself."""
    interval_s: float = 10.0
    """Seconds until the next plan: what can wait for that is not started now."""
    nodes_follow: bool = False
    """Nothing keeps nodes ready: each comes only when a worker waits for it, so workers are asked for as early."""


class Obstacle(StrEnum):
    """Why a replica has no place."""

    NO_POOL = "no_pool"
    """No pool has its accelerator."""
    NO_WORKER_GROUP = "no_worker_group"
    """No worker group has its accelerator, or none may use a pool that has it."""
    TOO_LARGE = "too_large"
    """It needs more GPUs in one worker than any worker has."""
    STOCKED_OUT = "stocked_out"
    QUOTA = "quota"
    LATE = "late"
    REFUSED = "refused"
    POOL_STATUS = "pool_status"
    """The pool is being removed or is broken."""
    POOL_AT_MAX = "pool_at_max"
    GROUP_AT_MAX = "group_at_max"
    BUDGET = "budget"
    OUTRANKED = "outranked"
    """Others, due sooner or with more weight, took what there was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """Replicas of one deployment that have no place, the first obstacle, and all of them in words."""

    id: DeploymentId
    replicas: int
    obstacle: Obstacle
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTarget:
    """Nodes that a pool should have, absolute.

    ``in_use`` nodes hold replicas or pods of others, and ``nodes`` is never below them. ``releasable`` are the
    names of empty nodes that nothing in the plan needs. ``new`` are those beyond what exists and is coming, and
    ``called_off`` those that were coming and are not needed any more. ``vacant`` of the ``nodes`` have no worker, none
    is to be started on them now, and no pending one will take them: they are kept, or come, for what is wanted later.
    """

    pool: str
    nodes: int
    present: int
    in_use: int
    coming: int
    new: int
    called_off: int = 0
    vacant: int = 0
    releasable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTarget:
    """Bounds that a worker group should have.

    ``min_workers`` are those to have now, never below the ``busy`` ones; ``max_workers`` those that the whole
    plan has room and budget for.
    """

    group: str
    min_workers: int
    max_workers: int
    present: int
    busy: int


class Solver(StrEnum):
    """What found an assignment."""

    EXACT = "exact"
    GREEDY = "greedy"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that was minimised, in the order of importance, and what it came to."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """How an assignment was found.

    ``proven`` is true when no assignment is better; ``gap`` is how much better one could be, as a share of
    the first criterion that was not proven (0 when all were).
    """

    solver: Solver
    proven: bool
    gap: float
    criteria: tuple[Criterion, ...]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """Targets for every pool and group, sorted by name; empty, with the reason in ``held``, when nothing is to change.

    ``late`` are replicas that have a place which is ready only after their time. ``housed`` are, of each deployment,
    the replicas that have a place on nodes that are ready, on workers that run or are started now. ``binding`` are the
    limits that shaped the plan, in words.
    """

    pools: tuple[PoolTarget, ...] = ()
    groups: tuple[GroupTarget, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    late: tuple[tuple[DeploymentId, int], ...] = ()
    housed: tuple[tuple[DeploymentId, int], ...] = ()
    nodes_solved: Solved | None = None
    workers_solved: Solved | None = None
    binding: tuple[str, ...] = ()
    held: str | None = None
