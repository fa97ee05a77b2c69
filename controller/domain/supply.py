"""Capacity on its way, on every layer: what was ordered, what was seen of it, and what the platform refused.

Only facts are kept, each a value that does not depend on when or how often it was heard of. What they mean at
a moment (what is still coming, what is late, how long a stage takes) is worked out from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.forecast import LeadTime
from controller.domain.layer import Layer
from controller.domain.pools import VerdictKind


class Milestone(StrEnum):
    """What a node, worker or replica goes through until it is of use, in this order on each layer."""

    NODE_CREATED = "node_created"
    NODE_READY = "node_ready"
    POD_CREATED = "pod_created"
    POD_SCHEDULED = "pod_scheduled"
    IMAGE_PULLED = "image_pulled"
    WORKER_READY = "worker_ready"
    REPLICA_CREATED = "replica_created"
    WEIGHTS_LOADED = "weights_loaded"
    WARMED_UP = "warmed_up"
    REPLICA_READY = "replica_ready"


MILESTONES = {
    Layer.NODE: (Milestone.NODE_CREATED, Milestone.NODE_READY),
    Layer.WORKER: (
        Milestone.POD_CREATED,
        Milestone.POD_SCHEDULED,
        Milestone.IMAGE_PULLED,
        Milestone.WORKER_READY,
    ),
    Layer.REPLICA: (
        Milestone.REPLICA_CREATED,
        Milestone.WEIGHTS_LOADED,
        Milestone.WARMED_UP,
        Milestone.REPLICA_READY,
    ),
}
"""The last one of a layer is when it is of use; the first is when it exists."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SupplyOrder:
    """An absolute target that was set, and when that is to be reached.

    ``key`` is the pool, worker group or deployment. ``count`` is how many more that is than there were and were
    coming; a negative one calls so many of those off that do not exist yet, the latest ordered first. What is
    ordered is expected after the P90 of the lead, and late after the P95 (Unix seconds).
    """

    layer: Layer
    key: str
    ordered_at: float
    target: int
    count: int
    expected_at: float
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """News: a unit was at a milestone at a moment (Unix seconds).

    ``uid`` never stands for two things, even where names are used again. ``parent`` is what it runs on: the
    node of a worker, the worker of a replica.
    """

    layer: Layer
    key: str
    uid: str
    pool: str
    milestone: Milestone
    at: float
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighted:
    """News: a unit was still there, or was not there any more, at a moment."""

    layer: Layer
    key: str
    uid: str
    pool: str
    at: float
    gone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Refusal:
    """News: the platform said that it gives no node of a pool (or of its ``zone``) now."""

    pool: str
    at: float
    kind: VerdictKind
    detail: str
    zone: str | None = None


SupplyEvent = SupplyOrder | Reached | Sighted | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One node, worker or replica: its milestones with the earliest time heard for each, in order of the layer."""

    layer: Layer
    key: str
    uid: str
    pool: str
    parent: str | None = None
    reached: tuple[tuple[Milestone, float], ...] = ()
    seen_at: float | None = None
    gone_at: float | None = None

    def at(self, milestone: Milestone) -> float | None:
        """When it was there; None if that is not known."""
        return dict(self.reached).get(milestone)

    @property
    def gone(self) -> bool:
        """Whether it was missed since it was last seen."""
        return self.gone_at is not None and (self.seen_at is None or self.gone_at >= self.seen_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyLedger:
    """All facts, sorted: the same facts in any order are the same ledger."""

    orders: tuple[SupplyOrder, ...] = ()
    units: tuple[Unit, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class SupplyStatus(StrEnum):
    """Where an order is."""

    PENDING = "pending"
    LATE = "late"
    """Its deadline has passed; it is not counted on any more."""
    REFUSED = "refused"
    ARRIVED = "arrived"
    CANCELLED = "cancelled"
    """Called off before any of it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has become of an order.

    ``wanted`` is what was not called off, ``created`` how many of those exist or existed until they were ready,
    ``ready`` how many became ready. ``reason`` says why it is late or refused, as far as
    the platform said.
    """

    order: SupplyOrder
    status: SupplyStatus
    wanted: int
    created: int
    ready: int
    reason: str = ""

    @property
    def coming(self) -> int:
        """Units to count on that do not exist yet."""
        return self.wanted - self.created if self.status is SupplyStatus.PENDING else 0


class Leg(StrEnum):
    """A stretch of the way, named for what happens on it."""

    CREATION = "creation"
    """From the order of a node to its creation."""
    BOOT = "boot"
    SCHEDULING = "scheduling"
    """From when a worker and a ready node for it exist to its binding."""
    IMAGE = "image"
    JOIN = "join"
    """From when a worker's own image is there until its pod is ready: it joined Ray."""
    WEIGHTS = "weights"
    """From when a replica and a worker for it exist until its weights are loaded."""
    WARM_UP = "warm_up"
    LOADING = "loading"
    """Weights, warm-up and admission together, where nothing tells when one of these ends and the next begins."""
    ADMISSION = "admission"
    """From the end of the warm-up to the first time it can be sent a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegTime:
    """Seconds that a leg takes; ``samples`` is 0 where that was never measured."""

    leg: Leg
    p50_s: float
    p90_s: float
    p95_s: float
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyLead:
    """A pool's lead time on one layer, and what it consists of as far as that was measured."""

    pool: str
    layer: Layer
    lead: LeadTime
    legs: tuple[LegTime, ...]
