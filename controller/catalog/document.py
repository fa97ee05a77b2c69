"""The catalogue as a page: ``python -m controller.catalog.document > docs/metrics.md``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from controller.catalog.exported import EXPORTED
from controller.catalog.metric import Metric, Origin
from controller.catalog.recorded import RECORDED
from controller.catalog.scraped import SCRAPED
from controller.catalog.watched import WATCHED

_INTRODUCTION = """\
# Metrics

Generated from the catalogue by `python -m controller.catalog.document > docs/metrics.md`; a test fails when
this page is out of date. Units are base units. A histogram also has its `le` label.
"""

_EXPORTED_INTRODUCTION = """\
The controller exposes these at `/metrics`. Every value comes from the last tick's record. What is unknown has
no series: `foreserve_signal_known` is 0 instead. A series whose labels are no longer current ends. Counters
count since the process started.
"""

_WATCHED_INTRODUCTION = """\
Dashboards and alerts read these from Prometheus, beside all of the above; the controller does not read them. Prometheus
adds `job`, `instance` and, in most fleets, `cluster`.
"""

_RECORDED_INTRODUCTION = """\
Recording rules make these: `foreserve alerts export` writes the rules; [alerts.md](alerts.md) says how to load them.
"""

_READ = {
    Origin.RAY: "Read from the metrics agent of each Ray node, or from Prometheus.",
    Origin.HAPROXY: "Read from HAProxy's Prometheus endpoint, or from Prometheus.",
}


def document() -> str:
    """Return docs/metrics.md."""
    parts = [_INTRODUCTION, "## Exported by Foreserve\n", _EXPORTED_INTRODUCTION, _table(EXPORTED)]
    for origin, title in ((Origin.RAY, "Ray Serve and vLLM"), (Origin.HAPROXY, "HAProxy")):
        metrics = [metric for metric in SCRAPED if metric.origin is origin]
        parts += [f"## Scraped from {title}\n", f"{_READ[origin]}\n", _table(metrics)]
    parts += ["## Read by dashboards and alerts only\n", _WATCHED_INTRODUCTION, _table(WATCHED)]
    parts += ["## Made by recording rules\n", _RECORDED_INTRODUCTION, _table(RECORDED)]
    return "\n".join(parts)


def _table(metrics: Sequence[Metric]) -> str:
    rows = ["| Metric | Type | Unit | Labels | Meaning |", "|---|---|---|---|---|", *map(_row, metrics)]
    return "\n".join(rows) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in (*metric.labels, *metric.identity))
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(document())
