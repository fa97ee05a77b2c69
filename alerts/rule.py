"""What a rule is, before it is written in anybody's format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.catalog.metric import Metric

_DURATION = re.compile(r"\d+(s|m|h|d)")
_SENTENCE_END = (".", "}}")


class Severity(StrEnum):
    """Who must act, and how soon."""

    PAGE = "page"
    """Users are hurt, or will be before the morning: somebody acts now."""
    TICKET = "ticket"
    """The owner acts in working hours."""


class Team(StrEnum):
    """Whose work it is."""

    SERVICE = "service"
    """Owns the models, their objectives and the policy."""
    PLATFORM = "platform"
    """Owns Ray, HAProxy, the cluster and the controller."""
    CAPACITY = "capacity"
    """Owns GPU quota, reservations and the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A series that Prometheus computes ahead."""

    metric: Metric
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition that a person is told about.

    ``hold`` is how long ``expr`` must return something. ``summary`` is one sentence that names the
    series at fault, ``impact`` what it does to users or to the bill. docs/runbooks has a page of the
    same name.

    Raises:
        ValueError: the name is not in CamelCase, ``hold`` is no duration, or a sentence has no end.

    """

    name: str
    expr: str
    hold: str
    severity: Severity
    team: Team
    summary: str
    impact: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"([A-Z][a-z]+)+", self.name):
            msg = f"{self.name}: an alert's name is CamelCase, as its runbook's file is"
            raise ValueError(msg)
        if not _DURATION.fullmatch(self.hold):
            msg = f"{self.name}: hold is {self.hold}; write 30s, 5m, 1h or 1d"
            raise ValueError(msg)
        for text in (self.summary, self.impact):
            if not text.endswith(_SENTENCE_END):
                msg = f"{self.name}: end with a full stop: {text}"
                raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated in order, every ``interval_s`` seconds."""

    name: str
    rules: tuple[Recording | Alert, ...]
    interval_s: int
