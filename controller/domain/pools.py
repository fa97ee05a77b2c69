"""GPU node pools as the plan sees them: what a node is, where it may be, what it costs, how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

Accelerator = NewType("Accelerator", str)
"""The kind of GPU, spelled as in GKE's node label ``cloud.google.com/gke-accelerator`` (``nvidia-l4``)."""


class Provisioning(StrEnum):
    """How the cloud sells a pool's nodes."""

    RESERVATION = "reservation"
    ON_DEMAND = "on_demand"
    SPOT = "spot"
    """May be reclaimed at any time."""
    FLEX_START = "flex_start"
    """Queued until there is capacity, for a bounded time."""


class PoolStatus(StrEnum):
    """What GKE says of a pool."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    RUNNING_WITH_ERROR = "running_with_error"
    RECONCILING = "reconciling"
    STOPPING = "stopping"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TotalBounds:
    """Fewest and most nodes of a whole pool (GKE: ``total_min_node_count``, ``total_max_node_count``)."""

    min_nodes: int
    max_nodes: int


@dataclass(frozen=True, slots=True)
class ZoneBounds:
    """Fewest and most nodes in **each** zone of a pool (GKE: ``min_node_count``, ``max_node_count``)."""

    min_nodes_per_zone: int
    max_nodes_per_zone: int


PoolBounds = TotalBounds | ZoneBounds
"""One of the two, as in GKE, which never mixes them either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """One node pool.

    A pool with a lower ``priority`` is used before one with a higher; among equals the cheaper wins.
    ``price_per_hour`` is of one node; None where no pool has a price, and a GPU then counts as 1.
    """

    name: str
    accelerator: Accelerator
    gpus_per_node: int
    zones: tuple[str, ...]
    provisioning: Provisioning
    priority: int
    bounds: PoolBounds
    price_per_hour: float | None = None
    status: PoolStatus = PoolStatus.RUNNING

    @property
    def min_nodes(self) -> int:
        """Fewest nodes over all zones."""
        if isinstance(self.bounds, TotalBounds):
            return self.bounds.min_nodes
        return self.bounds.min_nodes_per_zone * len(self.zones)

    @property
    def max_nodes(self) -> int:
        """Most nodes over all zones."""
        if isinstance(self.bounds, TotalBounds):
            return self.bounds.max_nodes
        return self.bounds.max_nodes_per_zone * len(self.zones)

    @property
    def node_cost(self) -> float:
        """What one node counts for: its price per hour, or its GPUs where nothing has a price."""
        return float(self.gpus_per_node) if self.price_per_hour is None else self.price_per_hour


class VerdictKind(StrEnum):
    """Why the platform gives no node of a pool."""

    STOCKED_OUT = "stocked_out"
    QUOTA = "quota"
    LATE = "late"
    """Ordered, not refused, and not there by its deadline."""
    REFUSED = "refused"
    """Any other refusal; the detail says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolVerdict:
    """Nothing is ordered from ``pool`` (or only from its ``zone``) before ``until`` (Unix seconds)."""

    pool: str
    kind: VerdictKind
    since: float
    until: float
    detail: str
    zone: str | None = None
