"""What the charts of a replay's page need, in columns and short numbers: a day of ten policies is some 400 KB."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from controller.simulation.comparison import Comparison, PolicyRow
from controller.simulation.driver import Sample

_DIGITS = 4
_TYPICAL_PEERS = 3


def chart_data(comparison: Comparison) -> dict[str, Any]:
    """Everything that is drawn, by policy."""
    shown = _shown_at_first(comparison)
    return {
        "length_s": comparison.length_s,
        "ttft_objective_s": comparison.ttft_objective_s,
        "attainment_objective": comparison.attainment_objective,
        "policies": [_policy(row, shown=row.name in shown) for row in comparison.policies],
        "sweep": {
            "startup_s": [point.startup_s for point in comparison.sweep],
            "oracle_ratio": _by_policy(comparison, "oracle_ratio"),
            "slo_attainment": _by_policy(comparison, "slo_attainment"),
        },
    }


def short(value: float | None) -> float | None:
    """Four significant digits; None for what JSON cannot say."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _shown_at_first(comparison: Comparison) -> set[str]:
    """The oracle, the controller's policies, and the peers that come nearest to them: no more than can be read."""
    rows = comparison.policies
    own = {row.name for row in rows if row.name == "oracle" or row.name.startswith("foreserve")}
    peers = [row for row in rows if row.name not in own]
    peers.sort(key=lambda row: (row.slo_attainment < comparison.attainment_objective, row.oracle_ratio))
    return own | {row.name for row in peers[:_TYPICAL_PEERS]}


def _policy(row: PolicyRow, *, shown: bool) -> dict[str, Any]:
    samples, timeline = row.samples, row.timeline
    return {
        "name": row.name,
        "shown": shown,
        "oracle_ratio": short(row.oracle_ratio),
        "slo_attainment": row.slo_attainment,
        "gpu_hours": short(row.gpu_hours),
        "at": [round(sample.at) for sample in samples],
        **{name: [getattr(sample, name) for sample in samples] for name in ("target", "ready", "starting", "stopping")},
        "waiting": [sample.waiting for sample in samples],
        "expected": _expected(samples),
        "windows": {
            "step_s": timeline.step_s,
            "requests": list(timeline.requests),
            "ttft_p50_s": _column(timeline.ttft_p50_s),
            "ttft_p99_s": _column(timeline.ttft_p99_s),
            "kept": _column(timeline.kept),
            "gpu_hours": _column(timeline.gpu_hours),
        },
    }


def _expected(samples: Sequence[Sample]) -> dict[str, Any] | None:
    """The band of the signal that decided most of the time."""
    signals = Counter(sample.expected.signal for sample in samples if sample.expected)
    if not signals:
        return None
    signal = signals.most_common(1)[0][0]
    points = [sample.expected if sample.expected and sample.expected.signal == signal else None for sample in samples]
    names = ("demand", "p10", "p50", "p90", "wanted")
    horizons = sorted(point.horizon_s for point in points if point)
    return {
        "signal": signal,
        "horizon_s": horizons[len(horizons) // 2],
        **{name: _column(None if point is None else getattr(point, name) for point in points) for name in names},
    }


def _by_policy(comparison: Comparison, column: str) -> list[list[float | None]]:
    return [
        [short(getattr(point.policies[place], column)) for point in comparison.sweep]
        for place in range(len(comparison.policies))
    ]


def _column(values: Iterable[float | None]) -> list[float | None]:
    return [short(value) for value in values]
