"""A change of a target that waits for a person's word."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.plan import Reason


class ProposalStatus(StrEnum):
    """Where a proposal is."""

    OPEN = "open"
    APPROVED = "approved"
    """To be done at the next tick, if that still plans the same."""
    REJECTED = "rejected"
    """The same change is not proposed again before it expires."""
    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    """Approved, and it failed or was refused on the way."""
    STALE = "stale"
    """The plan changed meanwhile: nothing was done."""
    EXPIRED = "expired"
    """Nobody said anything in time: nothing was done."""

    @property
    def waits(self) -> bool:
        """Whether something may still come of it."""
        return self in {ProposalStatus.OPEN, ProposalStatus.APPROVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One planned change. Times are Unix seconds; ``note`` says in a sentence what came of it.

    Of a pool's nodes or a worker group's least workers (``layer``, ``name``) the same keys hold the counts; there is no
    deployment then, and ``most`` is the group's upper bound.
    """

    id: str
    deployment: DeploymentId | None
    from_replicas: int | None
    to_replicas: int
    reason: Reason | None
    detail: str
    made_at: float
    expires_at: float
    status: ProposalStatus = ProposalStatus.OPEN
    decided_by: str = ""
    decided_at: float | None = None
    note: str = ""
    layer: Layer = Layer.REPLICA
    name: str = ""
    most: int | None = None

    @property
    def subject(self) -> str:
        """What is to change, in words."""
        return str(self.deployment) if self.layer is Layer.REPLICA else f"{self.layer.value} {self.name}"
