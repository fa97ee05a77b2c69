"""The cluster as it is found: nodes with workers, worker groups, GPU node pools; and what came of setting them."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.layer import Layer
from controller.domain.nodes import Node
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import Accelerator, PoolBounds, PoolStatus, Provisioning
from controller.domain.supply import SupplyEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWorker:
    """A worker pod that no node has been found for. ``detail`` is what the scheduler says of it."""

    name: str
    created_at: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFound:
    """A worker group of the RayCluster that serves now. ``replicas`` is what Ray's autoscaler wants of it."""

    name: str
    min_workers: int
    max_workers: int
    replicas: int | None = None
    pending: tuple[PendingWorker, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFound:
    """A node pool as the cloud describes it.

    ``autoscaled`` says that a cluster autoscaler owns its size, between ``bounds`` (None where it has none).
    ``operation`` names the operation in flight on the cluster, while there is one.
    """

    name: str
    status: PoolStatus
    autoscaled: bool
    zones: tuple[str, ...]
    bounds: PoolBounds | None = None
    accelerator: Accelerator | None = None
    gpus_per_node: int | None = None
    provisioning: Provisioning | None = None
    operation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsFound:
    """Node pools as read of the cloud at one moment; ``pools`` is None when they could not be read.

    ``events`` is news for the ledger (refusals that conditions and operations tell of), ``problems`` are sentences.
    """

    pools: tuple[PoolFound, ...] | None = None
    events: tuple[SupplyEvent, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFound:
    """Everything read of the cluster at one moment (``at``, Unix seconds).

    A part that could not be read is None, which is not the same as empty, and ``problems`` says why in sentences.
    ``frozen`` says why worker groups must not be touched now (an upgrade is under way). ``warm`` is the warm capacity
    kept for each pool, in nodes. ``events`` is news for the ledger that the parts do not show: refusals.
    """

    at: float
    nodes: tuple[Node, ...] | None = None
    groups: tuple[GroupFound, ...] | None = None
    pools: tuple[PoolFound, ...] | None = None
    warm: tuple[tuple[str, int], ...] | None = None
    events: tuple[SupplyEvent, ...] = ()
    frozen: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStep:
    """One target to be set, absolute. ``most`` is a worker group's upper bound; nodes and replicas have none.

    ``up`` says whether it adds capacity, or makes room for more. Of a pool's nodes ``vacant`` have no worker and none
    that is started now: what keeps nodes warm keeps so many.
    """

    layer: Layer
    name: str
    found: int
    wanted: int
    up: bool
    detail: str
    most: int | None = None
    vacant: int | None = None

    @property
    def hands_over(self) -> bool:
        """Whether only what keeps nodes warm changes: as many stay, and workers come onto them."""
        return self.layer is Layer.NODE and self.wanted == self.found


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOutcome:
    """What came of setting one target of one layer: a pool's nodes, or a worker group's bounds.

    ``lever`` names what was moved (``capacity_buffer``, ``balloon``, ``pool_bounds``, ``pool_size``,
    ``provisioning_request``, ``ray_cluster``).
    """

    layer: Layer
    name: str
    status: OutcomeStatus
    lever: str = ""
    detail: str = ""
    attempts: int = 0
    duration_s: float = 0.0
    proposal: str | None = None
    """Id of the proposal that waits, or that this came of."""
