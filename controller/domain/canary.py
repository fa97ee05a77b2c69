"""A new build that is brought into traffic step by step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CanaryPhase(StrEnum):
    """How far it is."""

    WAITING = "waiting"
    """Not begun: the splitter has not answered yet, or this controller may not act."""
    RAMPING = "ramping"
    """At one of its steps."""
    COMPLETED = "completed"
    """It held the last step; its share stays there."""
    TAKEN_BACK = "taken_back"
    """It did worse, or could not be judged; its share is 0. A new ``build`` begins anew."""
    OVERRIDDEN = "overridden"
    """Somebody else set the share, so it is left alone. A new ``build`` begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryProgress:
    """Where one build of one canary is, since when (Unix seconds), and why. ``step`` counts from 0."""

    build: str
    phase: CanaryPhase
    step: int
    share: float
    since: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSeen:
    """What one build did in this step: requests, those that failed, and the median to the first byte in seconds."""

    requests: int
    failed: int
    first_byte_p50_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRecord:
    """One canary at the time of a tick. ``found_share`` is what the splitter says; None while it does not answer."""

    name: str
    progress: CanaryProgress
    steps: int
    found_share: float | None = None
    canary: BuildSeen | None = None
    stable: BuildSeen | None = None
    problem: str = ""
