"""What outlives the process beside the planner's state: recent demand, and what the forecaster learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import PlannerState

PieceKey = tuple[DeploymentId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The newest bins of one signal's history, which began at ``begins`` (Unix seconds)."""

    deployment: DeploymentId
    signal: Signal
    begins: float
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Something learned about one deployment, as of ``at`` (Unix seconds). Only its writer can read ``body``."""

    deployment: DeploymentId
    name: str
    at: float
    body: bytes = field(repr=False)

    @property
    def key(self) -> PieceKey:
        """What a newer piece replaces."""
        return self.deployment, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Everything that a store gives back after a restart."""

    state: PlannerState = field(default_factory=PlannerState)
    histories: Sequence[tuple[DeploymentId, Signal, History]] = ()
    pieces: Sequence[Piece] = ()
