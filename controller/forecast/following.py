"""Follows one signal at one horizon through its history: from the first measurement to what is new in a tick."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np

from controller.domain.snapshot import History
from controller.forecast.announced import Announced, change
from controller.forecast.fitted import FittedModel
from controller.forecast.online import Spec, Track, advance, expecting, looking_back, start
from controller.forecast.past import Past
from controller.forecast.retrospect import look_back
from controller.forecast.seasons import season_s

HORIZONS_S = (10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1200, 1800, 3600)
"""A forecast is made for the next longer of these, so that a lead time that varies meets what was learned."""

_MIN_KNOWN_S = 60.0
_MIN_KNOWN_BINS = 6
_MAX_AGE_S = 30.0
_MIN_KNOWN_SHARE = 0.5
_WARM_UP_HORIZONS = 40
_WARM_UP_S = 3600.0
"""A signal met for the first time is followed from this far back, or 40 horizons if that is longer."""

_CADENCE_FROM = 100
_SEASON_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a forecast. ``promised`` is one of ``probabilities``; the highest when None."""

    horizon_s: float
    probabilities: tuple[float, ...]
    promised: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """The long past of one signal, its season as of ``season_at``, the model fitted to it, and what is announced."""

    past: Past | None = None
    season: float | None = None
    season_at: float = -math.inf
    model: FittedModel | None = None
    announced: tuple[Announced, ...] = ()

    def remembering(self, past: Past) -> Memory:
        """The same with a longer past. A season is looked for again once an hour."""
        if past.end < self.season_at + _SEASON_EVERY_S:
            return replace(self, past=past)
        return replace(self, past=past, season=season_s(past), season_at=past.end)


def follow(track: Track | None, history: History, wanted: Wanted, memory: Memory) -> Track | None:
    """The track after all bins of a history that are new to it; None while nothing was ever measured.

    A track that ends before the history begins goes on after a gap, with all it learned.
    """
    if track is not None and _fits(track, history, wanted):
        if track.at < history.start:
            track = advance(track, at=history.start, value=None)
        first = round((track.at - history.start) / history.step_s)
    else:
        begun = _begin(history, wanted)
        if begun is None:
            return None
        track, first = begun
    glance = partial(_glance, memory=memory)
    for place in range(first, len(history.values)):
        value = history.values[place]
        usable = value is not None and math.isfinite(value)
        at = history.start + (place + 1) * history.step_s
        track = expecting(track, change(memory.announced, at, track.spec.horizon_s))
        track = advance(track, at=at, value=max(0.0, value) if usable and value is not None else None, glance=glance)
    return _glance(track, memory)


def horizon_of(horizon_s: float, step_s: float = 0.0) -> float:
    """The next longer horizon that is forecast, at least one step; beyond the longest, the one asked for."""
    wanted = max(horizon_s, step_s)
    return float(next((rung for rung in HORIZONS_S if rung >= wanted - 1e-6), wanted))


def wanted_since(track: Track, horizon_s: float) -> float:
    """From when on a history is needed to go on with a track, and to tell whether enough of it is known."""
    reach_s = max(_needed_s(track), horizon_s) + 2 * track.cadence_s
    return min(track.at, track.known_at - reach_s)


def _fits(track: Track, history: History, wanted: Wanted) -> bool:
    spec = track.spec
    return (
        spec.probabilities == wanted.probabilities
        and spec.promised == wanted.promised
        and spec.horizon_s == horizon_of(wanted.horizon_s, spec.step_s)
        and 2 / 3 < track.cadence_s / spec.step_s < 3 / 2
        and track.at <= history.end
    )


def _begin(history: History, wanted: Wanted) -> tuple[Track, int] | None:
    """A new track that has seen one measurement, and the place of the next bin."""
    known = [place for place, value in enumerate(history.values) if value is not None and math.isfinite(value)]
    if not known:
        return None
    recent = known[-_CADENCE_FROM:]
    cadence = int(median(np.diff(recent))) if len(recent) > 1 else 1
    step_s = cadence * history.step_s
    spec = Spec(
        horizon_s=horizon_of(wanted.horizon_s, step_s),
        step_s=step_s,
        probabilities=wanted.probabilities,
        promised=wanted.promised,
    )
    warm_up_s = max(_WARM_UP_S, _WARM_UP_HORIZONS * spec.horizon_s)
    earliest = len(history.values) - warm_up_s / history.step_s
    first = next(place for place in known if place >= earliest)
    value = history.values[first]
    return start(spec, at=history.start + (first + 1) * history.step_s, value=max(0.0, value or 0.0)), first + 1


def _glance(track: Track, memory: Memory) -> Track:
    """Look back again when the past has a step that was not looked at yet."""
    past = memory.past
    if past is None or (memory.season is None and memory.model is None):
        return track
    place = min(past.size - 1, math.floor((track.at - past.end) / past.step_s + 1e-6) + past.size - 1)
    at = past.end - (past.size - 1 - place) * past.step_s
    if place < 0 or (track.look is not None and track.look.at >= at):
        return track
    look = look_back(
        past,
        level=track.levels.at(2),
        horizon_s=track.spec.horizon_s,
        probabilities=track.spec.probabilities,
        season_s=memory.season,
        model=memory.model,
        place=place,
        announced=memory.announced,
    )
    return looking_back(track, look)


def _needed_s(track: Track) -> float:
    return max(_MIN_KNOWN_S, _MIN_KNOWN_BINS * track.spec.step_s)


def unfit(track: Track, history: History, *, now: float, horizon_s: float) -> str | None:
    """Say why there is no forecast to rely on, if there is none."""
    step_s = track.spec.step_s
    age_s = now - track.known_at
    if age_s > max(_MAX_AGE_S, 2 * step_s):
        return f"demand unknown for the last {age_s:.0f} s"
    needed_s = _needed_s(track)
    if track.known_s < needed_s:
        return f"only {track.known_s:.0f} s of demand known; {needed_s:.0f} s are needed"
    recent = _recent(track, history, max(needed_s, horizon_s))
    if sum(value is not None for value in recent) * step_s < _MIN_KNOWN_SHARE * len(recent) * history.step_s:
        return f"more than half of the last {len(recent) * history.step_s:.0f} s is unknown"
    if track.trust.lost_at is not None:
        covered, promised = float(track.score.coverage[track.spec.place]), track.spec.probabilities[track.spec.place]
        return f"trust lost: {covered:.0%} of outcomes lay below what {promised:.0%} should"
    return None


def _recent(track: Track, history: History, last_s: float) -> tuple[float | None, ...]:
    end = round((track.known_at - history.start) / history.step_s)
    return history.values[max(0, end - math.ceil(last_s / history.step_s)) : end]
