"""The policy's sections on what people and alerts may ask for."""

from __future__ import annotations

from pydantic import Field

from controller.policy.section import Section


class OverridePolicy(Section):
    """Bounds of what people and alerts may ask for; the limits of a deployment hold all the same."""

    max_duration_s: float = Field(
        default=86_400.0, ge=60, le=604_800, description="Longest that one lasts, renewals included."
    )
    max_active: int = Field(default=100, ge=1, le=1000, description="Most at once.")


class ApprovalPolicy(Section):
    """Mode approve."""

    expires_after_s: float = Field(
        default=900.0, ge=30, le=86_400, description="How long a plan waits for a word; a no holds as long."
    )
