"""The forecaster of the control loop: follows every signal, and answers at the horizon asked for."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.fitted import FittedModel
from controller.forecast.online import Spec, Track, advance, leading, looking_back, predict, start
from controller.forecast.past import Past
from controller.forecast.retrospect import look_back
from controller.forecast.seasons import season_s
from controller.forecast.standing import Standing, standing

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
_COARSE_S = 60.0
_SEASON_EVERY_S = 3600.0
Key = tuple[DeploymentId, Signal]


@dataclass(frozen=True, slots=True)
class _Memory:
    """The long past of one signal, its season as of ``season_at``, and the model fitted to it."""

    past: Past | None = None
    season: float | None = None
    season_at: float = -math.inf
    model: FittedModel | None = None


class AdaptiveForecaster:
    """Candidates are combined by their pinball loss at the horizon, and corrected by what came of it.

    What was learned is a frozen ``Track`` for each signal, carried from call to call and exchanged for
    another one when the horizon, the quantiles or the distance of measurements change.
    """

    def __init__(self) -> None:
        self._tracks: dict[Key, Track] = {}
        self._memories: dict[Key, _Memory] = {}

    def forecast(
        self,
        history: History,
        signal: Signal,
        *,
        now: float,
        horizon_s: float,
        quantiles: Sequence[float],
        deployment: DeploymentId | None = None,
    ) -> Forecast | Unknown:
        """Quantiles of the maximum of ``signal`` over the next longer of ``HORIZONS_S``; see ``Forecaster``.

        Unknown with less than 60 s (or six measurements) known, when the newest is older than 30 s (or two
        measurements), when less than half of the last horizon is known, or when trust is lost.
        """
        probabilities = tuple(sorted(set(quantiles)))
        key = None if deployment is None else (deployment, signal)
        known = None if key is None else self._tracks.get(key)
        memory = self._memory(key, history)
        track = follow(known, history, horizon_s=horizon_s, probabilities=probabilities, memory=memory)
        if track is None:
            return Unknown("no demand known yet")
        if key is not None:
            self._tracks[key] = track
        if problem := _unfit(track, history, now=now, horizon_s=horizon_s):
            return Unknown(problem)
        return _forecast(track, signal, now)

    def remember(self, deployment: DeploymentId, signal: Signal, past: Past) -> None:
        """Use a longer and coarser past; call about once a minute, a part of the signals in each tick."""
        memory = self._memories.get((deployment, signal), _Memory())
        self._memories[deployment, signal] = _looked_up(replace(memory, past=past))

    def use(self, deployment: DeploymentId, signal: Signal, model: FittedModel) -> None:
        """Use a fitted model from now on."""
        memory = self._memories.get((deployment, signal), _Memory())
        self._memories[deployment, signal] = replace(memory, model=model)

    def tracks(self) -> Mapping[Key, Track]:
        """Return what was learned, to be checkpointed."""
        return dict(self._tracks)

    def restore(self, tracks: Mapping[Key, Track]) -> None:
        """Go on from a checkpoint."""
        self._tracks.update(tracks)

    def forget(self, kept: Collection[DeploymentId]) -> None:
        """Drop all deployments but those that are still planned."""
        for known in (self._tracks, self._memories):
            for key in [key for key in known if key[0] not in kept]:
                del known[key]

    def standings(self) -> Mapping[Key, Standing]:
        """Return each signal's live record."""
        found = {key: standing(track) for key, track in self._tracks.items()}
        return {key: one for key, one in found.items() if one is not None}

    def _memory(self, key: Key | None, history: History) -> _Memory:
        found = _Memory() if key is None else self._memories.get(key, _Memory())
        if found.past is not None or history.step_s < _COARSE_S:
            return found
        return _looked_up(replace(found, past=Past.of(history)))


def follow(
    track: Track | None,
    history: History,
    *,
    horizon_s: float,
    probabilities: tuple[float, ...],
    memory: _Memory,
) -> Track | None:
    """The track after all bins of a history that are new to it; None while nothing was ever measured."""
    if track is not None and _fits(track, history, horizon_s, probabilities):
        first = max(0, round((track.at - history.start) / history.step_s))
    else:
        begun = _begin(history, horizon_s, probabilities)
        if begun is None:
            return None
        track, first = begun
    glance = partial(_glance, memory=memory)
    for place in range(first, len(history.values)):
        value = history.values[place]
        usable = value is not None and math.isfinite(value)
        at = history.start + (place + 1) * history.step_s
        track = advance(track, at=at, value=max(0.0, value) if usable and value is not None else None, glance=glance)
    return _glance(track, memory)


def horizon_of(horizon_s: float, step_s: float) -> float:
    """The next longer horizon that is forecast, at least one step; beyond the longest, the one asked for."""
    wanted = max(horizon_s, step_s)
    return float(next((rung for rung in HORIZONS_S if rung >= wanted - 1e-6), wanted))


def _fits(track: Track, history: History, horizon_s: float, probabilities: tuple[float, ...]) -> bool:
    spec = track.spec
    return (
        spec.probabilities == probabilities
        and spec.horizon_s == horizon_of(horizon_s, spec.step_s)
        and 2 / 3 < track.cadence_s / spec.step_s < 3 / 2
        and history.start <= track.at <= history.end
    )


def _begin(history: History, horizon_s: float, probabilities: tuple[float, ...]) -> tuple[Track, int] | None:
    """A new track that has seen one measurement, and the place of the next bin."""
    known = [place for place, value in enumerate(history.values) if value is not None and math.isfinite(value)]
    if not known:
        return None
    recent = known[-_CADENCE_FROM:]
    cadence = int(median(np.diff(recent))) if len(recent) > 1 else 1
    step_s = cadence * history.step_s
    spec = Spec(horizon_s=horizon_of(horizon_s, step_s), step_s=step_s, probabilities=probabilities)
    warm_up_s = max(_WARM_UP_S, _WARM_UP_HORIZONS * spec.horizon_s)
    earliest = len(history.values) - warm_up_s / history.step_s
    first = next(place for place in known if place >= earliest)
    value = history.values[first]
    return start(spec, at=history.start + (first + 1) * history.step_s, value=max(0.0, value or 0.0)), first + 1


def _glance(track: Track, memory: _Memory) -> Track:
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
    )
    return looking_back(track, look)


def _looked_up(memory: _Memory) -> _Memory:
    """Look for a season again once an hour."""
    if memory.past is None or memory.past.end < memory.season_at + _SEASON_EVERY_S:
        return memory
    return replace(memory, season=season_s(memory.past), season_at=memory.past.end)


def _unfit(track: Track, history: History, *, now: float, horizon_s: float) -> str | None:
    """Say why there is no forecast, if there is none."""
    step_s = track.spec.step_s
    age_s = now - track.known_at
    if age_s > max(_MAX_AGE_S, 2 * step_s):
        return f"demand unknown for the last {age_s:.0f} s"
    needed_s = max(_MIN_KNOWN_S, _MIN_KNOWN_BINS * step_s)
    if track.known_s < needed_s:
        return f"only {track.known_s:.0f} s of demand known; {needed_s:.0f} s are needed"
    recent = _recent(track, history, max(needed_s, horizon_s))
    if sum(value is not None for value in recent) * step_s < _MIN_KNOWN_SHARE * len(recent) * history.step_s:
        return f"more than half of the last {len(recent) * history.step_s:.0f} s is unknown"
    if track.trust.lost_at is not None:
        covered, promised = float(track.score.coverage[-1]), track.spec.probabilities[-1]
        return f"trust lost: {covered:.0%} of outcomes lay below what {promised:.0%} should"
    return None


def _recent(track: Track, history: History, last_s: float) -> tuple[float | None, ...]:
    end = round((track.known_at - history.start) / history.step_s)
    return history.values[max(0, end - math.ceil(last_s / history.step_s)) : end]


def _forecast(track: Track, signal: Signal, now: float) -> Forecast:
    prediction = predict(track)
    return Forecast(
        signal=signal,
        at=now,
        horizon_s=track.spec.horizon_s,
        quantiles=tuple(zip(track.spec.probabilities, prediction.served.tolist(), strict=True)),
        method=leading(track, prediction),
        history_s=track.known_s,
    )
