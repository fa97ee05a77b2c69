"""What users are promised, and how many of the events that a promise is about broke it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Objective(StrEnum):
    """One promise. The names are the values of the label ``slo`` in recording rules and alerts."""

    TTFT = "ttft"
    """A first token comes in time; an event is a first token."""
    ITL = "itl"
    """The next token comes in time; an event is a token after the first."""
    SUCCESS = "success"
    """A request is neither failed by the service nor shed; an event is an HTTP request of the application."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From when on a first token, and a token after it, is late, in seconds."""

    ttft_s: float
    itl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events per second over the observation window, and those of them that broke the promise. 0 is silence."""

    per_s: float
    bad_per_s: float
