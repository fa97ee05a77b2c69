"""How long an ordered replica takes until it serves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.reading import Known
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.policy.model import DeploymentPolicy

DEFAULT_S = 120.0
"""Assumed when nothing was measured and the policy says nothing."""

_KEPT = 20
_ENOUGH = 3
_P95_MARGIN = 1.25
"""Where only one figure is known, the 95th percentile is this much longer."""
_FEW_P90_MARGIN, _FEW_P95_MARGIN = 1.25, 1.5


def recent_starts(memory: DeploymentMemory, snapshot: Snapshot) -> tuple[float, ...]:
    """Return the last 20 measured start-ups in seconds, this snapshot's included, oldest first."""
    ended = [start.seconds for start in snapshot.startups if math.isfinite(start.seconds) and start.seconds > 0]
    return (*memory.startup_seconds, *ended)[-_KEPT:]


def lead_time(policy: DeploymentPolicy, memory: DeploymentMemory, snapshot: Snapshot) -> LeadTime:
    """Best available lead time: starts watched, Serve's start-up histogram, the policy, then 120 s.

    Quantiles of watched starts are order statistics. One or two starts say little about the slow ones:
    the longest is then taken 25 % longer for P90 and 50 % longer for P95. A single figure from another
    source stands for P50 and P90, and 25 % more for P95.
    """
    starts = sorted(recent_starts(memory, snapshot))
    if starts:
        return _measured(starts)
    histogram = snapshot.startup_p90_s
    if isinstance(histogram, Known) and histogram.value > 0:
        return _single(histogram.value, LeadSource.STARTUP_METRICS)
    if policy.lead_time.assumed_s is not None:
        return _single(policy.lead_time.assumed_s, LeadSource.POLICY)
    return _single(DEFAULT_S, LeadSource.DEFAULT)


def _measured(starts: Sequence[float]) -> LeadTime:
    few = len(starts) < _ENOUGH
    return LeadTime(
        p50_s=_order_statistic(starts, 0.5),
        p90_s=starts[-1] * _FEW_P90_MARGIN if few else _order_statistic(starts, 0.9),
        p95_s=starts[-1] * _FEW_P95_MARGIN if few else _order_statistic(starts, 0.95),
        source=LeadSource.MEASURED,
        samples=len(starts),
    )


def _single(seconds: float, source: LeadSource) -> LeadTime:
    return LeadTime(p50_s=seconds, p90_s=seconds, p95_s=seconds * _P95_MARGIN, source=source, samples=0)


def _order_statistic(ordered: Sequence[float], probability: float) -> float:
    return ordered[math.ceil(probability * len(ordered) - 1e-9) - 1]
