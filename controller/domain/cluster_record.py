"""What one tick saw of the cluster, planned for it, and did: nodes, workers, and what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.placement import ClusterPlan
from controller.domain.pools import Accelerator, PoolStatus, PoolVerdict, Provisioning
from controller.domain.supply import Standing, SupplyLead


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNeed:
    """How many replicas of one deployment a layer is to carry once its lead is over, and how that came about.

    ``due_s`` is the lead from ordering on this layer to a replica that serves, ``replicas`` what is wanted by then.
    """

    id: DeploymentId
    layer: Layer
    due_s: float
    replicas: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSeen:
    """One node pool as it was found. Counts of nodes are None while the nodes are unknown.

    ``coming`` nodes are ordered and do not exist yet. ``most`` is the policy's maximum, or the live one where that
    is lower. ``warm`` is the warm capacity found, in nodes; ``node`` and ``worker`` are the lead times reckoned with.
    """

    pool: str
    accelerator: Accelerator
    gpus_per_node: int
    provisioning: Provisioning
    order: int
    price_per_hour: float | None
    status: PoolStatus
    most: int
    ready: int | None
    starting: int | None
    draining: int | None
    in_use: int | None
    coming: int
    warm: int | None
    operation: str | None
    node: LeadTime
    worker: LeadTime


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSeen:
    """One worker group as it was found; None where that is not known.

    ``pending`` workers have no node yet; ``busy`` ones hold replicas.
    """

    group: str
    min_workers: int | None
    max_workers: int | None
    ready: int | None
    starting: int | None
    busy: int | None
    pending: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """The cluster's part of one tick.

    ``unseen`` says why nodes are not known, ``frozen`` why worker groups were left alone; ``elsewhere`` are replicas
    that serve on no node that was found. ``standings`` are the orders of nodes and workers that are remembered,
    ``leads`` the measured leads with their legs. ``outcomes`` has one entry for each step and lever. ``solve_s`` is
    how long planning took.
    """

    pools: tuple[PoolSeen, ...] = ()
    groups: tuple[GroupSeen, ...] = ()
    needs: tuple[LayerNeed, ...] = ()
    elsewhere: tuple[tuple[DeploymentId, int], ...] = ()
    plan: ClusterPlan = field(default_factory=ClusterPlan)
    steps: tuple[LayerStep, ...] = ()
    outcomes: tuple[LayerOutcome, ...] = ()
    standings: tuple[Standing, ...] = ()
    verdicts: tuple[PoolVerdict, ...] = ()
    leads: tuple[SupplyLead, ...] = ()
    unseen: str | None = None
    frozen: str | None = None
    problems: tuple[str, ...] = ()
    solve_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leading:
    """Whether this controller is the one that acts; ``standing`` says who is, in words. ``term`` grows with changes."""

    leads: bool
    term: int
    standing: str
