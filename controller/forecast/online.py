"""A forecast that learns from every measurement: one signal, one horizon, a value that is carried along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median

import numpy as np

from controller.forecast.announced import Change
from controller.forecast.arrays import FloatArray
from controller.forecast.boosted import Boosted
from controller.forecast.candidate import Candidate, Moment
from controller.forecast.conformal import Correction
from controller.forecast.damped_trend import DampedTrend
from controller.forecast.experts import Experts, mean
from controller.forecast.last_value import LastValue
from controller.forecast.levels import Levels
from controller.forecast.momentum import Momentum
from controller.forecast.pending import Outcome, Pending, Prediction, settle
from controller.forecast.retrospect import Retrospect
from controller.forecast.seasonal import Seasonal
from controller.forecast.smoothing import Smoothing
from controller.forecast.target import Target
from controller.forecast.trust import TRUSTED, Score, Trust
from controller.forecast.unrest import Unrest

CANDIDATES: tuple[Candidate, ...] = (Smoothing(), LastValue(), DampedTrend(), Seasonal(), Boosted())
NAMES: tuple[str, ...] = tuple(chain.from_iterable(candidate.names for candidate in CANDIDATES))
_DOUBT = np.array(list(chain.from_iterable(candidate.doubt for candidate in CANDIDATES)))
_FIXED = np.array([0.0 if name == "boosted" else 1.0 for name in NAMES])

STRIDES = 8
"""Predictions are scored this many times per horizon."""

_SCALES = 3

_TYPICAL_ERRORS = 3.0
"""The band reaches above the recent peak only by this many typical errors (of a random walk over the
horizon): that demand once jumped from 4 to 16 does not mean that it may now jump from 16 to 28."""

_FEWEST_OPEN = 3

_PEAK_HORIZONS = 20.0
"""A peak is forgotten over this many horizons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is predicted. ``step_s`` is the length of a measurement's bin.

    ``promised`` is the one of ``probabilities`` whose coverage trust depends on; the highest when None.
    """

    horizon_s: float
    step_s: float
    probabilities: tuple[float, ...]
    target: Target = Target.MAXIMUM
    promised: float | None = None

    @property
    def place(self) -> int:
        """Where the promised probability is."""
        return len(self.probabilities) - 1 if self.promised is None else self.probabilities.index(self.promised)

    @property
    def stride_s(self) -> float:
        """Distance of two scored predictions."""
        return max(self.step_s, self.horizon_s / STRIDES)

    @property
    def per_horizon(self) -> float:
        """How many scored predictions overlap."""
        return self.horizon_s / self.stride_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Everything learned about one signal at one horizon. Frozen: each measurement makes another one.

    ``at`` is the end of the newest bin taken in, ``known_at`` that of the newest measured one, and
    ``known_s`` how much was measured in all. ``peak`` is the largest of late, slowly forgotten, and
    ``distances`` are the newest ones between measurements. ``usual`` is the short level while no announced event
    changed demand, ``coming`` what is announced for the horizon.
    """

    spec: Spec
    at: float
    known_at: float
    known_s: float
    levels: Levels
    unrest: Unrest
    momentum: Momentum
    experts: Experts
    correction: Correction
    score: Score
    next_origin: float
    peak: float
    waiting: tuple[Pending, ...] = ()
    look: Retrospect | None = None
    trust: Trust = TRUSTED
    distances: tuple[float, ...] = ()
    usual: float | None = None
    coming: Change | None = None

    @property
    def cadence_s(self) -> float:
        """Usual distance of two measurements."""
        return median(self.distances) if self.distances else self.spec.step_s

    @property
    def horizons(self) -> float:
        """How many independent horizons the live record is worth."""
        return self.score.weight / self.spec.per_horizon


def start(spec: Spec, *, at: float, value: float) -> Track:
    """Begin with one measurement whose bin ended at ``at``."""
    steps = spec.horizon_s / spec.step_s if spec.target is Target.MAXIMUM else 1.0
    return Track(
        spec=spec,
        at=at,
        known_at=at,
        known_s=spec.step_s,
        levels=Levels.starting(value, spec.stride_s),
        unrest=Unrest.starting(value),
        momentum=Momentum(),
        experts=Experts.fresh(spec.probabilities, len(NAMES), scales=_SCALES, steps=steps),
        correction=Correction.fresh(len(spec.probabilities)),
        score=Score.fresh(len(spec.probabilities)),
        next_origin=at,
        peak=value,
    )


def advance(
    track: Track, *, at: float, value: float | None, glance: Callable[[Track], Track] = lambda track: track
) -> Track:
    """Take in the bin that ended at ``at``; None where nothing was measured.

    ``glance`` may look back at the days before, when there is something new to see.
    """
    spec = track.spec
    if value is None:
        waiting, outcomes = settle(track.waiting, at, spec.horizon_s)
        return _learn(replace(track, at=at, waiting=waiting), outcomes)
    elapsed_s = at - track.known_at
    known_s = min(elapsed_s, 2 * track.cadence_s)
    maximum = spec.target is Target.MAXIMUM
    waiting, outcomes = settle(
        tuple([one.seeing(value, known_s, maximum=maximum) for one in track.waiting]), at, spec.horizon_s
    )
    levels = track.levels.seeing(value, elapsed_s)
    disturbed = track.coming is not None and track.coming.on
    track = replace(
        track,
        at=at,
        known_at=at,
        known_s=track.known_s + known_s,
        levels=levels,
        usual=track.usual if disturbed else levels.at(2),
        unrest=track.unrest.seeing(value),
        momentum=track.momentum.seeing(
            value, previous=track.levels.last, expected=track.levels.at(2), elapsed_s=elapsed_s
        ),
        waiting=waiting,
        peak=_peak(track, value, elapsed_s),
        distances=(*track.distances[-8:], elapsed_s),
    )
    track = glance(_learn(track, outcomes))
    return _predict(track) if at >= track.next_origin - 0.5 * track.spec.step_s else track


def looking_back(track: Track, look: Retrospect) -> Track:
    """Use what the days before say from now on."""
    return replace(track, look=look)


def expecting(track: Track, coming: Change | None) -> Track:
    """Take in what is announced for the horizon from the track's time on."""
    return track if coming == track.coming else replace(track, coming=coming)


def predict(track: Track) -> Prediction:
    """What is to be said now."""
    if track.waiting and track.waiting[-1].prediction.at == track.at:
        return track.waiting[-1].prediction
    spec = track.spec
    lead = track.momentum.lead(track.levels.last, spec.horizon_s, maximum=spec.target is Target.MAXIMUM)
    moment = Moment(track.levels, spec.horizon_s, lead, track.momentum.drive, track.look)
    points = _shifted(_points(moment, len(spec.probabilities)), track)
    scales = track.unrest.scales
    quantiles = track.experts.quantiles(points, scales, _FIXED)
    weights = track.experts.weights(quantiles, _DOUBT, per_horizon=spec.per_horizon)
    blend = mean(weights, quantiles)
    expected = mean(weights, points[:, :, None])
    highest = np.maximum(
        max(track.peak, _announced(track)), expected + _TYPICAL_ERRORS * spec.per_horizon**0.5 * track.unrest.typical
    )
    corrected = blend + scales[-1] * track.correction.offsets + _outrun(track)
    served = np.minimum(np.maximum(corrected, 0.0), highest)
    leading = int(weights[-1].sum(axis=1).argmax())
    return Prediction(track.at, points, scales, quantiles, blend, np.maximum.accumulate(served), leading)


def leading(prediction: Prediction) -> str:
    """Name of the variant that weighs most in the highest quantile."""
    return NAMES[prediction.leading]


def _points(moment: Moment, rows: int) -> FloatArray:
    points = np.empty((rows, len(NAMES)))
    first = 0
    for candidate in CANDIDATES:
        last = first + len(candidate.names)
        points[:, first:last] = candidate.points(moment)
        first = last
    return points


def _shifted(points: FloatArray, track: Track) -> FloatArray:
    """Every point at least at what is announced: candidates that learned it from the past are not raised twice."""
    return points if track.coming is None else np.maximum(points, _announced(track))


def _announced(track: Track) -> float:
    """The demand that is announced; 0 without any."""
    usual = track.levels.at(2) if track.usual is None else track.usual
    return 0.0 if track.coming is None else track.coming.multiple * usual + track.coming.extra


def _outrun(track: Track) -> FloatArray | float:
    """By how much most open predictions were exceeded already, at least 0, per probability.

    A maximum that is above what was said stays above it, so a climb shows in the older half of the open
    predictions before any of them is due. Noise exceeds one or the other, a climb most of them.
    """
    spec = track.spec
    old = [one for one in track.waiting if one.prediction.at <= track.at - 0.5 * spec.horizon_s]
    if spec.target is not Target.MAXIMUM or len(old) < _FEWEST_OPEN:
        return 0.0
    offsets = track.correction.offsets
    said = np.array([one.prediction.blend + one.prediction.scales[-1] * offsets for one in old])
    beyond = np.array([one.largest for one in old])[:, None] - said
    outrun: FloatArray = np.maximum(np.median(beyond, axis=0), 0.0)
    return outrun


def _peak(track: Track, value: float, elapsed_s: float) -> float:
    if value >= track.peak:
        return value
    return track.peak + (value - track.peak) * min(1.0, elapsed_s / (_PEAK_HORIZONS * track.spec.horizon_s))


def _predict(track: Track) -> Track:
    unrest = track.unrest.closing(track.levels)
    track = replace(track, unrest=unrest, next_origin=track.at + track.spec.stride_s)
    return replace(track, waiting=(*track.waiting, Pending(predict(track))))


def _learn(track: Track, outcomes: Sequence[Outcome]) -> Track:
    if not outcomes:
        return track
    probabilities = np.array(track.spec.probabilities)
    experts, correction, score = track.experts, track.correction, track.score
    for outcome in outcomes:
        experts = experts.learning(outcome, probabilities, per_horizon=track.spec.per_horizon)
        correction = correction.learning(outcome, probabilities, per_horizon=track.spec.per_horizon)
        score = score.counting(outcome, probabilities, horizon_s=track.spec.horizon_s)
    track = replace(track, experts=experts, correction=correction, score=score)
    trust = track.trust.reconsidered(
        coverage=float(score.coverage[track.spec.place]),
        promised=track.spec.probabilities[track.spec.place],
        horizons=track.horizons,
        now=track.at,
    )
    return replace(track, trust=trust)
