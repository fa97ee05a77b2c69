"""Decisions as data: each stage's number and reason, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.domain.forecast import Forecast, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal


class Reason(StrEnum):
    """Why a stage passed on the number it did."""

    DEMAND = "demand"
    """Reactive: demand measured now needs this many."""
    FORECAST = "forecast"
    """Predicted demand at the lead time needs more than demand now does."""
    SCHEDULE = "schedule"
    """An announced event is on, or begins within the lead time."""
    IDLE = "idle"
    NO_DATA = "no_data"
    """Demand is unknown: hold."""
    BLIND_SPOT = "blind_spot"
    """A source is missing or stale, so nothing is lowered."""
    STEADY = "steady"
    UPSCALE_DELAY = "upscale_delay"
    DOWNSCALE_DELAY = "downscale_delay"
    AT_MIN = "at_min"
    AT_MAX = "at_max"
    MAX_STEP_UP = "max_step_up"
    MAX_STEP_DOWN = "max_step_down"
    BUDGET = "budget"
    """The budget that all deployments share allows no more, now or at all."""
    PAUSED = "paused"
    NOT_DEPLOYED = "not_deployed"
    IN_FLIGHT = "in_flight"
    """Requests in flight need the replicas that demand would give up."""
    DRAIN_WAIT = "drain_wait"
    """Fewer are needed, but many requests run on those that would stop: a better moment is waited for."""
    IDLE_DELAY = "idle_delay"
    """Not idle for long enough to go to zero."""
    COLD_START = "cold_start"
    """A start from zero would take longer than is promised."""
    ASLEEP = "asleep"
    """At zero, and nobody knocks."""
    WAKE = "wake"
    """At zero, and somebody knocks, or it cannot be seen whether somebody does."""
    FROZEN = "frozen"
    """Somebody asked to leave the target where it is."""
    HELD = "held"
    """Somebody asked to lower nothing."""
    RAISED_FLOOR = "raised_floor"
    """Somebody asked for more replicas than the policy's least."""
    NO_PLACE = "no_place"
    """Further replicas have no worker to run on yet; they wait for workers and nodes."""
    NODE_READY = "node_ready"
    """A node is kept for what is foreseen, and a replica on it costs nothing more."""
    UNSETTLED = "unsettled"
    """Replicas are being updated or stopped; nothing is lowered meanwhile."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage's opinion: the number it passed on, why, and the arithmetic in one sentence."""

    stage: str
    replicas: int
    reason: Reason
    detail: str = ""


class CapacitySource(StrEnum):
    """Where a per-replica capacity comes from."""

    LEARNED = "learned"
    POLICY = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The load one replica carries within its objectives, per signal, in the signal's unit."""

    per_replica: Mapping[Signal, float]
    source: CapacitySource
    detail: str = ""
    full: Mapping[Signal, float] = field(default_factory=dict)
    """The load at which a replica's objectives break, per signal, where it is known: what a moment may ask for."""


class Action(StrEnum):
    """What the plan asks the actuator to do."""

    NONE = "none"
    SCALE_UP = "scale_up"
    SCALE_DOWN = "scale_down"
    REASSERT = "reassert"
    """Set the same target again: a redeploy reset it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One deployment's outcome of one tick's planning.

    ``current`` is the live target (None when unknown), ``desired`` the wanted one (None: no
    opinion, leave it). ``binding`` is the reason of the stage that set the final number.
    """

    id: DeploymentId
    current: int | None
    desired: int | None
    action: Action
    binding: Reason
    steps: tuple[Step, ...]
    lead: LeadTime
    capacity: Capacity
    forecasts: tuple[Forecast, ...] = ()
    forecast_unavailable: str | None = None
    """Why there is no forecast, when there is none."""


class OrderStatus(StrEnum):
    """Where an ordered replica is."""

    PENDING = "pending"
    LATE = "late"
    ARRIVED = "arrived"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Capacity that was ordered, or given back, and has (or has not) come or gone: one entry per change."""

    id: DeploymentId
    ordered_at: float
    from_replicas: int
    to_replicas: int
    deadline: float
    status: OrderStatus = OrderStatus.PENDING
    closed_at: float | None = None

    @property
    def gives_back(self) -> bool:
        """Whether replicas are to drain and go."""
        return self.to_replicas < self.from_replicas


class OutcomeStatus(StrEnum):
    """What came of a decision."""

    NOTHING_TO_DO = "nothing_to_do"
    APPLIED = "applied"
    """Written, and read back."""
    ADVISED = "advised"
    """Advisory mode: recorded, nothing touched."""
    AWAITING = "awaiting"
    """Approve mode: it waits for a person's word; nothing was touched."""
    STANDBY = "standby"
    """Another controller acts; nothing was touched."""
    REFUSED = "refused"
    """Not written: a guard or a preflight check said no."""
    FAILED = "failed"
    """Written without a confirmed effect, or not writable."""
    PENDING = "pending"
    """Recorded before acting; the result was never recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of acting on one decision."""

    id: DeploymentId
    status: OutcomeStatus
    detail: str = ""
    attempts: int = 0
    duration_s: float = 0.0
    proposal: str | None = None
    """Id of the proposal that waits, or that this came of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetUse:
    """How one limit over all deployments is used: ``held`` now, starting and draining replicas included."""

    resource: str
    """``gpus`` or ``spend_per_hour``."""
    limit: float
    held: float
    wanted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A target that is not what this controller last set: by whom it may have been changed."""

    id: DeploymentId
    expected: int
    found: int
    cause: str
    """``redeploy`` (the configuration changed with it) or ``second_writer``."""
