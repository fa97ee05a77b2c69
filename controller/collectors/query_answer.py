"""Reading an answer of the Prometheus query API: a matrix of catalogued series and of ``up``, by target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.catalog.metric import Origin
from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.collectors.exposition import is_bound, kept_labels
from controller.domain.scrape import Sample, SourceKind

_KIND_OF_ORIGIN = {Origin.RAY: SourceKind.RAY, Origin.HAPROXY: SourceKind.HAPROXY}
_KEPT_LABELS = {name: kept_labels(name, metric) for name, metric in BY_SAMPLE_NAME.items()}
_SAME_SCRAPE_S = 0.001
_MAX_WARNINGS = 5

TargetName = tuple[str, str]
"""A target's ``instance`` and ``job``."""


class AnswerError(Exception):
    """The answer is not what was asked for; the message says what it is."""


@dataclass(slots=True)
class Target:
    """One scraped target: when it was last scraped (Unix seconds), whether that worked, and what it gave."""

    at: float = 0.0
    _up_at: float = 0.0
    _up: bool = True
    _points: dict[SourceKind, list[tuple[float, Sample]]] = field(default_factory=dict)

    @property
    def kinds(self) -> frozenset[SourceKind]:
        """Which kinds of metric it has had within the range."""
        return frozenset(self._points)

    @property
    def down(self) -> bool:
        """Whether its last scrape failed."""
        return not self._up and self._up_at >= self.at - _SAME_SCRAPE_S

    def last_scrape(self, kind: SourceKind) -> tuple[tuple[Sample, ...], int]:
        """Return the samples of the last scrape, and how many series could not be told apart.

        Those differ only in labels that are not read, and none of them is among the samples.
        """
        found: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
        ambiguous = set()
        for at, sample in self._points.get(kind, ()):
            if at < self.at - _SAME_SCRAPE_S:
                continue
            series = (sample.name, sample.labels)
            if series in found:
                ambiguous.add(series)
            found[series] = sample
        return tuple(sample for series, sample in found.items() if series not in ambiguous), len(ambiguous)

    def add(self, labels: Mapping[str, str], at: float, value: float) -> None:
        """Take in the newest point of one series. Raises ValueError for a bucket without a bound."""
        name = labels["__name__"]
        metric = BY_SAMPLE_NAME.get(name)
        if metric is not None:
            kept = tuple((label, labels[label]) for label in _KEPT_LABELS[name] if labels.get(label))
            if name.endswith("_bucket") and not is_bound(labels.get("le", "")):
                msg = f"{name} has no bound"
                raise ValueError(msg)
            sample = Sample(name, kept, value)
            self._points.setdefault(_KIND_OF_ORIGIN[metric.origin], []).append((at, sample))
        elif name == "up":
            self._up_at, self._up = at, value == 1.0
        self.at = max(self.at, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A query's answer. ``warnings`` say that it may be partial; ``unreadable`` series were left out."""

    targets: dict[TargetName, Target]
    warnings: tuple[str, ...]
    unreadable: int


def parse_answer(body: bytes) -> Answer:
    """Read the answer to a range selector. Raises AnswerError."""
    try:
        answer = json.loads(body)
        status, data = answer["status"], answer.get("data") or {}
        warnings = tuple(str(warning)[:200] for warning in answer.get("warnings") or ())[:_MAX_WARNINGS]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"not an answer of the Prometheus query API; it begins with {body[:120].decode(errors='replace')!r}"
        raise AnswerError(msg) from error
    if status != "success":
        msg = f"the query failed: {error_text(body) or str(status)[:200]}"
        raise AnswerError(msg)
    if not isinstance(data, dict) or data.get("resultType") != "matrix" or not isinstance(data.get("result"), list):
        msg = "the answer holds no matrix of series"
        raise AnswerError(msg)
    targets, unreadable = _by_target(data["result"])
    return Answer(targets=targets, warnings=warnings, unreadable=unreadable)


def error_text(body: bytes) -> str:
    """What an error answer of the API says; empty when it is not one."""
    try:
        answer = json.loads(body)
        return f"{answer['errorType']}: {answer['error']}"[:300]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _by_target(series: list[Any]) -> tuple[dict[TargetName, Target], int]:
    targets: dict[TargetName, Target] = {}
    unreadable = 0
    for entry in series:
        try:
            labels = entry["metric"]
            name = (labels["instance"], labels.get("job", ""))
            at, value = entry["values"][-1]
            targets.setdefault(name, Target()).add(labels, float(at), float(value))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            unreadable += 1
    return targets, unreadable
