"""What a person or an alert asks of the planner for a while. It ends by itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.identity import DeploymentId


class OverrideAction(StrEnum):
    """What is asked."""

    HOLD_SCALE_DOWN = "hold_scale_down"
    """Lower nothing."""
    RAISE_FLOOR = "raise_floor"
    """Run so many replicas more than the policy's least, within its limits."""
    FREEZE = "freeze"
    """Leave the target where it is."""
    RESUME = "resume"
    """Do not follow the freezes that began before."""
    REACTIVE = "reactive"
    """Follow measured demand and announced events only, not the forecast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One thing that is asked, from ``began_at`` until before ``until`` (Unix seconds).

    ``deployment`` None means every deployment. ``owner`` asked for it: a token's name, or ``RECEIVER/ALERT``.
    ``replicas`` belongs to RAISE_FLOOR. A new one with the ``key`` of one in force takes its place.
    """

    id: str
    action: OverrideAction
    deployment: DeploymentId | None
    began_at: float
    until: float
    owner: str
    reason: str
    replicas: int = 0
    key: str = ""

    def covers(self, deployment: DeploymentId) -> bool:
        """Whether it is about this deployment."""
        return self.deployment is None or self.deployment == deployment
