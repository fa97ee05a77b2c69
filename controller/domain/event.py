"""What is told to the outside: something happened, something began, or it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.domain.identity import DeploymentId

Fact = str | int | float | bool | None


class Topic(StrEnum):
    """What it is about."""

    DECISION_APPLIED = "decision_applied"
    """A target was set and read back."""
    DECISION_HELD = "decision_held"
    """A target is left alone: demand is unknown, a source is stale, it is paused, frozen or held."""
    DECISION_FAILED = "decision_failed"
    """A change was refused or failed; ends with one that works, or when none is wanted any more."""
    APPROVAL_AWAITED = "approval_awaited"
    """A plan waits for a word."""
    CAPACITY_LATE = "capacity_late"
    """Ordered replicas, or the nodes of a pool, are past their deadline."""
    STOCK_OUT = "stock_out"
    """A node pool gives no nodes: stocked out, out of quota, or refused."""
    FORECAST_NOT_TRUSTED = "forecast_not_trusted"
    """A forecast fell short of its promise and is not used; ends when it is trusted again."""
    FIGHT = "fight"
    """Something else set a target."""
    SLO_BURN = "slo_burn"
    """An error budget burns too fast, by the windows and factors of the alerts; ends when it no longer does."""
    CANARY = "canary"
    """A new build is ramped up, completed, was taken back, or its share was set by somebody else."""
    OVERRIDE = "override"
    """Somebody asked for something for a while."""
    CONTROLLER_DOWN = "controller_down"
    """The controller was stopped; ends when it starts again."""
    CONTROLLER_UP = "controller_up"
    """The controller has started."""
    TEST = "test"
    """Somebody tries a sink."""


class Phase(StrEnum):
    """Which part of it."""

    HAPPENED = "happened"
    BEGAN = "began"
    ENDED = "ended"


class Gravity(StrEnum):
    """How bad it is; the words are PagerDuty's."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing to tell. The same thing has the same ``id`` however often it is told.

    ``key`` is the same when it begins and when it ends. ``at`` is in Unix seconds.
    """

    id: str
    topic: Topic
    phase: Phase
    at: float
    key: str
    gravity: Gravity
    summary: str
    deployment: DeploymentId | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """Its CloudEvents type."""
        return f"io.foreserve.{self.topic.value}.{self.phase.value}"
