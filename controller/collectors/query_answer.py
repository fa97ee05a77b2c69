"""Reading an answer of the Prometheus query API: a matrix of catalogued series and of ``up``, by target.

Thousands of replicas answer with tens of megabytes, nearly all of it labels that repeat from answer to answer. So an
``AnswerReader`` keeps what it decoded, by the labels' text, and takes an answer in Prometheus' own form apart without
decoding it as a whole; one in another form, or with anything odd in it, is decoded as any JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.catalog import scraped
from controller.catalog.metric import Origin
from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.collectors.exposition import is_bound, kept_labels
from controller.domain.scrape import Sample, SourceKind

_KIND_OF_ORIGIN = {Origin.RAY: SourceKind.RAY, Origin.HAPROXY: SourceKind.HAPROXY}
_KEPT_LABELS = {name: kept_labels(name, metric) for name, metric in BY_SAMPLE_NAME.items()}
_SAME_SCRAPE_S = 0.001
_MAX_WARNINGS = 5

_HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
_ENTRY = b'{"metric":{'
_POINTS = b'},"values":[['
_NEWEST_POINT = re.compile(rb'([0-9.eE+-]++),"([^"\\]++)"\]\]\},?')
_END = b'"]]}'
"""How Prometheus writes an answer. In a string a quote follows a backslash, so no label can hold any of these."""

COUNT_AS_BUCKET = {f"{scraped.VLLM_TTFT.name}_count": f"{scraped.VLLM_TTFT.name}_bucket"}
"""Counts that are read as what they equal by definition: the bucket without a bound, one series instead of many."""

TargetName = tuple[str, str]
"""A target's ``instance`` and ``job``."""

_Series = tuple[str, tuple[tuple[str, str], ...]]


class AnswerError(Exception):
    """The answer is not what was asked for; the message says what it is."""


@dataclass(frozen=True, slots=True)
class _Identity:
    """Whose series it is: a target's, of one kind of metric (None for ``up``)."""

    target: TargetName
    kind: SourceKind | None
    series: _Series

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> _Identity:
        """Raise KeyError without an instance or a name, ValueError for a bucket without a bound."""
        name = labels["__name__"]
        target = (labels["instance"], labels.get("job", ""))
        if name in COUNT_AS_BUCKET:
            name, labels = COUNT_AS_BUCKET[name], {**labels, "le": "+Inf"}
        metric = BY_SAMPLE_NAME.get(name)
        if metric is None:
            return cls(target, None, (name, ()))
        if name.endswith("_bucket") and not is_bound(labels.get("le", "")):
            msg = f"{name} has no bound"
            raise ValueError(msg)
        kept = tuple((label, labels[label]) for label in _KEPT_LABELS[name] if labels.get(label))
        return cls(target, _KIND_OF_ORIGIN[metric.origin], (name, kept))


@dataclass(slots=True)
class Target:
    """One scraped target: when it was last scraped (Unix seconds), whether that worked, and what it gave."""

    at: float = 0.0
    _up_at: float = 0.0
    _up: bool = True
    _points: dict[SourceKind, list[tuple[float, _Series, float]]] = field(default_factory=dict)

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
        found: dict[_Series, float] = {}
        ambiguous = set()
        oldest = self.at - _SAME_SCRAPE_S
        for at, series, value in self._points.get(kind, ()):
            if at < oldest:
                continue
            if series in found:
                ambiguous.add(series)
            found[series] = value
        samples = (Sample(*series, value) for series, value in found.items() if series not in ambiguous)
        return tuple(samples), len(ambiguous)

    def add(self, identity: _Identity, at: float, value: float) -> None:
        """Take in the newest point of one series."""
        if identity.kind is not None:
            self._points.setdefault(identity.kind, []).append((at, identity.series, value))
        elif identity.series[0] == "up":
            self._up_at, self._up = at, value == 1.0
        self.at = max(self.at, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A query's answer. ``warnings`` say that it may be partial; ``unreadable`` series were left out."""

    targets: dict[TargetName, Target]
    warnings: tuple[str, ...]
    unreadable: int

    @classmethod
    def joined(cls, parts: Sequence[Answer]) -> Answer:
        """Join answers that tell about different targets. Raises AnswerError if two tell about one."""
        targets: dict[TargetName, Target] = {}
        for part in parts:
            if twice := targets.keys() & part.targets.keys():
                msg = f"two parts of the answer tell about {min(twice)[0]}: the server ignores a matcher on instance"
                raise AnswerError(msg)
            targets |= part.targets
        warnings = tuple(dict.fromkeys(warning for part in parts for warning in part.warnings))[:_MAX_WARNINGS]
        return cls(targets=targets, warnings=warnings, unreadable=sum(part.unreadable for part in parts))


class AnswerReader:
    """Reads answer after answer, remembering the series it has taken apart.

    ``max_cached_series`` bounds the memory (about 0.6 KB a series): the cache starts over when it is full.
    """

    def __init__(self, *, max_cached_series: int = 200_000) -> None:
        self._max_cached_series = max_cached_series
        self._cache: dict[bytes, _Identity] = {}

    def read(self, body: bytes) -> Answer:
        """Read the answer to a range selector. Raises AnswerError."""
        try:
            return self._in_known_form(body)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return parse_answer(body)

    def _in_known_form(self, body: bytes) -> Answer:
        """Read an answer as Prometheus writes it. Raises for any other."""
        head, *entries = body.split(_ENTRY)
        if head != _HEAD or not entries:
            raise ValueError
        entries[-1], rest = _cut_tail(entries[-1])
        warnings = _warnings(json.loads(b'{"data":{"result":[' + rest))
        targets: dict[TargetName, Target] = {}
        cache, newest = self._cache, _NEWEST_POINT.fullmatch
        for entry in entries:
            labels, _, points = entry.partition(_POINTS)
            point = newest(points, points.rfind(b"[") + 1)
            if point is None or points.count(b"]]") > 1:  # more lists than the points
                raise ValueError
            identity = cache.get(labels) or self._decode(labels)
            target = targets.get(identity.target)
            if target is None:
                target = targets[identity.target] = Target()
            target.add(identity, float(point[1]), float(point[2]))
        return Answer(targets=targets, warnings=warnings, unreadable=0)

    def _decode(self, labels: bytes) -> _Identity:
        identity = _Identity.of(json.loads(b"{" + labels + b"}"))
        if len(self._cache) >= self._max_cached_series:
            self._cache.clear()
        self._cache[labels] = identity
        return identity


def parse_answer(body: bytes) -> Answer:
    """Read the answer to a range selector as JSON. Raises AnswerError."""
    try:
        answer = json.loads(body)
        status, data = answer["status"], answer.get("data") or {}
        warnings = _warnings(answer)
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


def _cut_tail(entry: bytes) -> tuple[bytes, bytes]:
    """Split the last entry from what follows it. Raises ValueError."""
    end = entry.index(_END, entry.index(_POINTS)) + len(_END)
    return entry[:end], entry[end:]


def _warnings(answer: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(warning)[:200] for warning in answer.get("warnings") or ())[:_MAX_WARNINGS]


def _by_target(series: list[Any]) -> tuple[dict[TargetName, Target], int]:
    targets: dict[TargetName, Target] = {}
    unreadable = 0
    for entry in series:
        try:
            identity = _Identity.of(entry["metric"])
            at, value = entry["values"][-1]
            targets.setdefault(identity.target, Target()).add(identity, float(at), float(value))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            unreadable += 1
    return targets, unreadable
