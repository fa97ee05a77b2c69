"""What the days before say about the next stretch: asked once per coarse step, not per tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.forecast.announced import Announced
from controller.forecast.arrays import FloatArray, IntArray
from controller.forecast.features import Features, features, season_rises
from controller.forecast.fitted import VERSION, FittedModel
from controller.forecast.past import Past


@dataclass(frozen=True, slots=True)
class Retrospect:
    """Answers as of ``at``, the end of the past they were read from.

    The rises are ratios of what followed at this time of earlier seasons to the level there, None
    without a season. ``boosted`` are the fitted model's quantiles in the signal's unit, one per
    probability asked for. ``level`` is the short level when they were made.
    """

    at: float
    level: float
    newest_rise: float | None = None
    mean_rise: float | None = None
    boosted: tuple[float, ...] | None = None


def look_back(
    past: Past,
    *,
    level: float,
    horizon_s: float,
    probabilities: Sequence[float],
    season_s: float | None,
    model: FittedModel | None,
    place: int | None = None,
    announced: Sequence[Announced] = (),
) -> Retrospect:
    """Read the past as of its end, or of the step at ``place`` without looking beyond it.

    ``season_s`` and ``model`` may be of an earlier hour or day.
    """
    places = np.array([past.size - 1 if place is None else place])
    (look,) = look_back_from(
        past,
        places,
        horizon_s=horizon_s,
        probabilities=probabilities,
        season_s=season_s,
        model=model,
        announced=announced,
    )
    return replace(look, level=level)


def look_back_from(
    past: Past,
    places: IntArray,
    *,
    horizon_s: float,
    probabilities: Sequence[float],
    season_s: float | None,
    model: FittedModel | None,
    announced: Sequence[Announced] = (),
) -> list[Retrospect]:
    """``look_back`` from many steps at once, without the levels there."""
    ahead = max(1, round(horizon_s / past.step_s))
    newest, mean = _rises(past, places, ahead, season_s)
    usable = model is not None and model.version == VERSION and model.step_s == past.step_s
    boosted = None
    if model is not None and usable:
        seen = features(past, places, ahead=ahead, season_s=model.season_s, announced=announced, events=model.events)
        boosted = _boosted(seen, probabilities, model)
    return [
        Retrospect(
            at=past.end - (past.size - 1 - int(place)) * past.step_s,
            level=math.nan,
            newest_rise=_known(newest[row]),
            mean_rise=_known(mean[row]),
            boosted=None if boosted is None or not np.isfinite(boosted[row, 0]) else tuple(boosted[row].tolist()),
        )
        for row, place in enumerate(places)
    ]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _rises(past: Past, now: IntArray, ahead: int, season_s: float | None) -> tuple[FloatArray, FloatArray]:
    """The rise of the newest season that is known, and the mean of all."""
    nothing = np.full(now.size, np.nan)
    if season_s is None or season_s < ahead * past.step_s:
        return nothing, nothing
    earlier = np.stack(season_rises(past, now, ahead=ahead, season_s=season_s))
    known = np.isfinite(earlier)
    newest = np.where(known.any(axis=0), earlier[known.argmax(axis=0), np.arange(now.size)], np.nan)
    counts = known.sum(axis=0)
    mean = np.where(counts > 0, np.where(known, earlier, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    return newest, mean


def _boosted(seen: Features, probabilities: Sequence[float], model: FittedModel) -> FloatArray:
    """Quantiles in the signal's unit, a row for each step and a column for each probability; NaN where unknown."""
    answers = np.stack([seen.level + seen.unrest * forest.predict_rows(seen.rows) for forest in model.forests], axis=1)
    nearest = [int(np.argmin([abs(asked - own) for own in model.probabilities])) for asked in probabilities]
    quantiles: FloatArray = np.where(np.isfinite(seen.level)[:, None], np.maximum(answers[:, nearest], 0.0), np.nan)
    return quantiles
