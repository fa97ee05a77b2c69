"""The load generator's rows as series over time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from controller.load.result import LoadResult
from controller.load.row import RequestRow
from controller.report.model import Numbers, TrafficReport, TrafficSeries

_MOST_BINS = 3600
_WINDOW_BINS = 5


def traffic_report(load: LoadResult) -> TrafficReport | None:
    """Summary and series, or None when nothing was due."""
    return TrafficReport(summary=load.summary, series=_series(load)) if load.rows else None


def _series(load: LoadResult) -> TrafficSeries:
    """One bin per second; longer ones when the run is longer than an hour."""
    length_s = load.rows[-1].scheduled_s
    bin_s = float(max(1, math.ceil(length_s / _MOST_BINS)))
    binned: dict[int, list[RequestRow]] = defaultdict(list)
    for row in load.rows:
        binned[int(row.scheduled_s / bin_s)].append(row)
    bins = range(int(length_s / bin_s) + 1)
    windows = [
        [row for slot in range(last - _WINDOW_BINS + 1, last + 1) for row in binned.get(slot, ())] for last in bins
    ]
    ttft = [[row.ttft_from_schedule_s for row in rows if row.ttft_from_schedule_s is not None] for rows in windows]
    itl = [[gap for row in rows for gap in row.itl_s] for rows in windows]
    return TrafficSeries(
        bin_s=bin_s,
        window_s=_WINDOW_BINS * bin_s,
        at=tuple(load.started_at + (slot + 1) * bin_s for slot in bins),
        rps=tuple(len(binned.get(slot, ())) / bin_s for slot in bins),
        failed=tuple(sum(not row.ok for row in binned.get(slot, ())) for slot in bins),
        ttft_p50_s=_quantile(ttft, 0.5),
        ttft_p95_s=_quantile(ttft, 0.95),
        itl_p50_s=_quantile(itl, 0.5),
        itl_p95_s=_quantile(itl, 0.95),
    )


def _quantile(groups: Sequence[Sequence[float]], probability: float) -> Numbers:
    return tuple(float(np.quantile(values, probability)) if values else None for values in groups)
