"""A run over time, in windows: how users fared, and what it had cost by then."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from controller.simulation.fleet import Fleet
from controller.simulation.outcome import Objectives, met, ttft_s
from controller.simulation.state import Floats

_WINDOWS = 288
"""Five minutes each of a day."""

_SHORTEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Windows of ``step_s`` from the start, each with the requests that arrived in it.

    ``ttft`` are quantiles in seconds, one that never got a first token counting with its patience; None where nothing
    arrived. ``kept`` is the share that got both promises. ``gpu_hours`` are those of replicas up to the window's end.
    """

    step_s: float
    requests: tuple[int, ...]
    ttft_p50_s: tuple[float | None, ...]
    ttft_p99_s: tuple[float | None, ...]
    kept: tuple[float | None, ...]
    gpu_hours: tuple[float, ...]


def timeline_of(fleet: Fleet, length_s: float, objectives: Objectives) -> Timeline:
    """Cut a finished run into windows."""
    count = max(1, min(_WINDOWS, int(length_s // _SHORTEST_S)))
    step_s = length_s / count
    requests = fleet.requests
    times = ttft_s(requests)
    waited = np.where(np.isfinite(times), times, fleet.cluster.clients.abandon_s)
    kept = met(requests, objectives)
    bounds = np.searchsorted(requests.arrival, np.arange(count + 1) * step_s)
    spans = [slice(first, last) for first, last in itertools.pairwise(bounds.tolist())]
    quantiles = [np.percentile(waited[span], [50, 99]).tolist() if span.stop > span.start else None for span in spans]
    return Timeline(
        step_s=step_s,
        requests=tuple(np.diff(bounds).tolist()),
        ttft_p50_s=tuple(None if pair is None else pair[0] for pair in quantiles),
        ttft_p99_s=tuple(None if pair is None else pair[1] for pair in quantiles),
        kept=tuple(float(kept[span].mean()) if span.stop > span.start else None for span in spans),
        gpu_hours=tuple(_gpu_hours(fleet, np.arange(1, count + 1, dtype=np.float64) * step_s, length_s).tolist()),
    )


def _gpu_hours(fleet: Fleet, until: Floats, length_s: float) -> Floats:
    """GPU hours that replicas had held by each of the times."""
    held = np.zeros(len(until))
    for life in fleet.lifetimes:
        end = length_s if life.gone_at is None else min(life.gone_at, length_s)
        held += np.clip(until - life.ordered_at, 0.0, max(0.0, end - life.ordered_at))
    return np.asarray(held * fleet.cluster.replica.gpus / 3600.0, dtype=np.float64)
