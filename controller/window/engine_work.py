"""What each engine did over the window, and how its users fared: the raw material of a learned capacity."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.engine import EngineInterval, ServiceOutcomes
from controller.domain.identity import DeploymentId
from controller.domain.serve import DeploymentState, ReplicaState
from controller.window.latency import service_outcomes
from controller.window.reach import Moment
from controller.window.replicas import KnownReplica
from controller.window.series import Series, increase

_ITERATIONS = f"{scraped.VLLM_ITERATION_TOKENS.name}_count"
_FIRST_TOKENS = f"{scraped.VLLM_TTFT.name}_bucket"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWork:
    """A deployment's engines over the window. ``outcomes`` is None when no request got a first token."""

    intervals: tuple[EngineInterval, ...]
    outcomes: ServiceOutcomes | None


def engine_work(moment: Moment, deployment: DeploymentId, *, ttft_s: float, tpot_s: float) -> EngineWork:
    """Return the intervals of the running replicas, and how many requests missed the objectives."""
    window = moment.window
    look = window.serve(moment.now)
    state = look.state.deployment(deployment) if look else None
    if state is None:
        return EngineWork(intervals=(), outcomes=None)
    known = window.known_replicas(deployment)
    found = (_interval(moment, one, known.get(one)) for one in _running(state))
    return EngineWork(
        intervals=tuple(interval for interval in found if interval is not None),
        outcomes=service_outcomes(moment, deployment, known, ttft_s=ttft_s, tpot_s=tpot_s),
    )


def _running(state: DeploymentState) -> list[str]:
    return sorted(replica.replica_id for replica in state.replicas if replica.state is ReplicaState.RUNNING)


def _interval(moment: Moment, replica_id: str, known: KnownReplica | None) -> EngineInterval | None:
    """One replica's counters between their first and last change within the window.

    Ray's agents take over an engine's counters every few seconds, all of them at once: only from change to
    change does the time belong to the counts. An engine in several processes is left out: whose iterations
    would they be?
    """
    iterations = [series for series in moment.window.find(_ITERATIONS, replica_id) if moment.is_fresh(series)]
    if len(iterations) != 1:
        return None
    counted = iterations[0]
    span = _changes(counted, moment.since)
    if span is None:
        return None

    def grown(metric: Metric) -> float:
        return _grown(moment.window.find(metric.name, replica_id), span)

    started = known.born_at if known else None
    labels = dict(counted.labels)
    running, kv_usage = (
        _mean(moment.window.find(metric.name, replica_id), span)
        for metric in (scraped.VLLM_RUNNING, scraped.VLLM_KV_USAGE)
    )
    return EngineInterval(
        replica_id=replica_id,
        until=span[1],
        seconds=span[1] - span[0],
        iterations=_between(counted, span),
        prompt_tokens=grown(scraped.VLLM_PROMPT_TOKENS),
        generation_tokens=grown(scraped.VLLM_GENERATION_TOKENS),
        first_tokens=_grown(_counts(moment.window.find(_FIRST_TOKENS, replica_id)), span),
        cached_tokens=grown(scraped.VLLM_PREFIX_HITS),
        preemptions=grown(scraped.VLLM_PREEMPTIONS),
        running=running,
        kv_usage=kv_usage,
        ready_s=None if started is None else span[1] - started,
        model=labels.get("model_name", ""),
    )


def _changes(series: Series, since: float) -> tuple[float, float] | None:
    """Times of the first and last change of a counter since ``since``; None with fewer than two."""
    changed = [
        at
        for (_, before), (at, value) in itertools.pairwise(zip(series.times, series.values, strict=True))
        if at >= since and value != before
    ]
    return (changed[0], changed[-1]) if len(changed) > 1 else None


def _grown(series: Sequence[Series], span: tuple[float, float]) -> float:
    return sum(_between(one, span) for one in series)


def _between(series: Series, span: tuple[float, float]) -> float:
    """Increase from the newest point at or before the start; a series that came later began at 0."""
    first, last = bisect_right(series.times, span[0]) - 1, bisect_right(series.times, span[1])
    values = series.values[max(first, 0) : last]
    return increase(values if first >= 0 else [0.0, *values])


def _counts(buckets: Sequence[Series]) -> list[Series]:
    return [series for series in buckets if math.isinf(series.bound)]


def _mean(series: Sequence[Series], span: tuple[float, float]) -> float | None:
    values = [
        value
        for one in series
        for value in one.values[bisect_left(one.times, span[0]) : bisect_right(one.times, span[1])]
        if not math.isnan(value)
    ]
    return sum(values) / len(values) if values else None
