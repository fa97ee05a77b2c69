"""Just enough of PromQL to tell which metrics and labels a query names. Prometheus itself checks the syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controller.catalog.exported import EXPORTED
from controller.catalog.metric import Metric
from controller.catalog.promql import TARGET_LABELS
from controller.catalog.recorded import RECORDED
from controller.catalog.scraped import SCRAPED
from controller.catalog.watched import WATCHED

CATALOGUE: dict[str, Metric] = {
    name: metric for metric in (*SCRAPED, *WATCHED, *EXPORTED, *RECORDED) for name in metric.sample_names
}
OF_PROMETHEUS = {"ALERTS": {"alertname", "alertstate", "severity", "application"}, "up": set()}
"""Series that Prometheus makes by itself, with the labels that are asked for."""

_STRING = r'"(?:[^"\\]|\\.)*"'
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_CLAUSE = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_OFFSET = re.compile(r"\boffset\s+-?[\w$]+")
_SELECTOR = re.compile(rf"([a-zA-Z_:][\w:]*)\s*(\{{(?:[^{{}}\"]|{_STRING})*\}})?(?!\s*\()")
_MATCHER = re.compile(rf"(\w+)\s*(?:=~|!~|!=|=)\s*{_STRING}")


@dataclass(frozen=True)
class Selected:
    """One selector: the name that it begins with, and the labels that it matches."""

    name: str
    labels: frozenset[str]


def selectors(query: str) -> Iterator[Selected]:
    bare = _OFFSET.sub(" ", _RANGE.sub(" ", _CLAUSE.sub(" ", query)))
    position = 0
    while found := re.compile(rf"{_STRING}|\d[\w.]*|[a-zA-Z_:][\w:]*").search(bare, position):
        position = found.end()
        if not (found[0][0].isalpha() or found[0][0] in "_:"):
            continue
        selected = _SELECTOR.match(bare, found.start())
        if selected is None or selected[1] != found[0] or found[0].lower() in _KEYWORDS:
            continue
        position = selected.end()
        yield Selected(selected[1], frozenset(_MATCHER.findall(selected[2] or "")))


def problems(query: str) -> list[str]:
    """Say what the query names that the catalogue does not have."""
    found = []
    for selected in selectors(query):
        metric = CATALOGUE.get(selected.name)
        if metric is None and selected.name not in OF_PROMETHEUS:
            found.append(f"{selected.name} is not in the catalogue")
            continue
        own = OF_PROMETHEUS.get(selected.name) if metric is None else {*metric.labels, *metric.identity}
        more = {"le"} if selected.name.endswith("_bucket") else set()
        found += [
            f"{selected.name} has no label {label}"
            for label in sorted(selected.labels - (own or set()) - TARGET_LABELS - more)
        ]
    return found
