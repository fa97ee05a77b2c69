"""From a trace to the moments at which requests are sent. Deterministic: same options, same schedule."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.errors import BadInputError
from controller.load.trace import Trace

_JITTER_GAPS = 5.0
"""Copies of a request are moved by up to this many mean gaps: far below the shape, enough to break pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """How a trace is replayed. ``start_s`` and ``duration_s`` are seconds of the trace, before ``speed``."""

    speed: float = 1.0
    rate_scale: float = 1.0
    start_s: float = 0.0
    duration_s: float | None = None
    loop: bool = False
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to send, ``at_s`` seconds after the start of the run."""

    index: int
    at_s: float
    prompt_tokens: int
    output_tokens: int


def arrivals(trace: Trace, options: ScheduleOptions) -> Iterator[Arrival]:
    """Requests in order of time; endless with ``loop``.

    A ``rate_scale`` below 1 keeps each request with that probability; above 1 it adds copies moved
    in time by a few mean gaps. Each lap of a loop draws anew.

    Raises:
        BadInputError: no request of the trace lies in the chosen part (raised at the call, not later).

    """
    end_s = options.start_s + _seconds(trace, options)
    indexes = np.flatnonzero((trace.t_s >= options.start_s) & (trace.t_s < end_s))
    if not len(indexes):
        msg = f"{trace.name}: no request from {options.start_s:g} s to {end_s:g} s; it is {trace.length_s:g} s long"
        raise BadInputError(msg)
    laps = itertools.count() if options.loop else range(1)
    return _replay(trace, indexes, options, laps)


def replay_seconds(trace: Trace, options: ScheduleOptions) -> float:
    """How long one pass over the chosen part takes, in seconds of the run."""
    return _seconds(trace, options) / options.speed


def _seconds(trace: Trace, options: ScheduleOptions) -> float:
    return trace.length_s - options.start_s if options.duration_s is None else options.duration_s


def _replay(
    trace: Trace, indexes: NDArray[np.intp], options: ScheduleOptions, laps: Iterator[int] | range
) -> Iterator[Arrival]:
    times = (trace.t_s[indexes] - options.start_s) / options.speed
    prompts = _clipped(trace.prompt_tokens[indexes], options.prompt_tokens_max)
    outputs = _clipped(trace.output_tokens[indexes], options.output_tokens_max)
    length = replay_seconds(trace, options)
    number = itertools.count()
    for lap in laps:
        at_s, chosen = scale_rate(times, options.rate_scale, length, np.random.default_rng([options.seed, lap]))
        for at, row in zip(at_s.tolist(), chosen.tolist(), strict=True):
            yield Arrival(next(number), lap * length + at, int(prompts[row]), int(outputs[row]))


def scale_rate(
    times: NDArray[np.float64], scale: float, length_s: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Times at ``scale`` times the rate, sorted, within [0, length_s]; and which request each stands for.

    Whole copies come first and the original keeps its times; of the last copy each request is kept
    with the probability that is left over. A larger scale keeps what a smaller one of the same
    number of copies kept.
    """
    everything = np.arange(len(times))
    whole = int(scale)
    kept = everything[rng.random(len(times)) < scale - whole]
    rows = np.concatenate([np.tile(everything, whole), kept])
    moved = times[rows]
    jitter = min(length_s, _JITTER_GAPS * length_s / max(1, len(times)))
    shifts = rng.uniform(-jitter, jitter, len(rows))
    # The first set of requests is the trace itself; only what is laid over it is moved.
    shifts[: len(everything) if whole else len(kept)] = 0.0
    moved = np.clip(_reflected(moved + shifts, length_s), 0.0, length_s)
    order = np.argsort(moved, kind="stable")
    return moved[order], rows[order]


def _reflected(times: NDArray[np.float64], length_s: float) -> NDArray[np.float64]:
    """Mirror what was moved out of the run back into it, so that its ends stay as dense as they were."""
    inside = np.abs(times)
    return np.where(inside > length_s, 2 * length_s - inside, inside)


def _clipped(tokens: NDArray[np.int64], maximum: int | None) -> NDArray[np.int64]:
    return np.clip(tokens, 1, maximum)
