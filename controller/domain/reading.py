"""A measured value with its age, or the reason why there is none. Unknown is never zero."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """A finite measured value and how old its newest contributing sample is, in seconds."""

    value: float
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """No believable value, and why."""

    reason: str


Reading = Known | Unknown
