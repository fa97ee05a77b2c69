"""Selectors of catalogued metrics for PromQL, so that no query names what the catalogue does not."""

from __future__ import annotations

import re

from controller.catalog.metric import Metric, Origin

TARGET_LABELS = frozenset({"cluster", "namespace", "job", "instance"})
"""Labels that Prometheus, not the exporter, puts on every series."""

_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(?:[^"\\]|\\.)*"')


def selector(metric: Metric, *matchers: str, sample: str = "") -> str:
    """Return ``name{matchers}``. ``sample`` is ``bucket``, ``count`` or ``sum`` of a histogram.

    Raises:
        ValueError: the metric has no such sample or label.

    """
    name = f"{metric.name}_{sample}" if sample else metric.name
    if name not in metric.sample_names:
        msg = f"{metric.name} is a {metric.kind} with samples {', '.join(metric.sample_names)}; not {name}"
        raise ValueError(msg)
    for matcher in matchers:
        _check(metric, matcher)
    return f"{name}{{{','.join(matchers)}}}" if matchers else name


def equals(label: str, value: str) -> str:
    """Return the matcher of one exact value, whatever characters it has."""
    return f'{label}="{_escaped(value)}"'


def matches(label: str, pattern: str) -> str:
    """Return the matcher of every value that an RE2 pattern describes whole."""
    return f'{label}=~"{_escaped(pattern)}"'


def differs(label: str, value: str) -> str:
    """Return the matcher of everything but one value."""
    return f'{label}!="{_escaped(value)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _check(metric: Metric, matcher: str) -> None:
    found = _MATCHER.fullmatch(matcher)
    if found is None:
        msg = f'{matcher} is no matcher; write label="value"'
        raise ValueError(msg)
    labels = {*metric.labels, *metric.identity, *TARGET_LABELS, *(("le",) if _has_buckets(metric) else ())}
    if found[1] not in labels:
        msg = f"{metric.name} has no label {found[1]}; it has {', '.join(sorted(labels))}"
        raise ValueError(msg)


def _has_buckets(metric: Metric) -> bool:
    return metric.origin is not Origin.RULES and len(metric.sample_names) > 1
