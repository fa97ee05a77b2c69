"""Lead times from measured seconds, or from a single figure where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.domain.forecast import LeadSource, LeadTime

_ENOUGH = 3
_FEW_P90_MARGIN, _FEW_P95_MARGIN = 1.25, 1.5
_P95_MARGIN = 1.25


def measured_lead(seconds: Sequence[float]) -> LeadTime:
    """Lead time from measured ones, of which there is at least one: order statistics.

    One or two say little about the slow ones: the longest is then taken 25 % longer for P90 and 50 % longer
    for P95.
    """
    ordered = sorted(seconds)
    few = len(ordered) < _ENOUGH
    return LeadTime(
        p50_s=_order_statistic(ordered, 0.5),
        p90_s=ordered[-1] * _FEW_P90_MARGIN if few else _order_statistic(ordered, 0.9),
        p95_s=ordered[-1] * _FEW_P95_MARGIN if few else _order_statistic(ordered, 0.95),
        source=LeadSource.MEASURED,
        samples=len(ordered),
    )


def assumed_lead(seconds: float, source: LeadSource) -> LeadTime:
    """Lead time from a single figure: it stands for P50 and P90, and 25 % more for P95."""
    return LeadTime(p50_s=seconds, p90_s=seconds, p95_s=seconds * _P95_MARGIN, source=source, samples=0)


def _order_statistic(ordered: Sequence[float], probability: float) -> float:
    return ordered[math.ceil(probability * len(ordered) - 1e-9) - 1]
