"""What the days before say about the next stretch: asked once per coarse step, not per tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.forecast.arrays import IntArray
from controller.forecast.features import features, season_rises
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
) -> Retrospect:
    """Read the past as of its end, or of the step at ``place`` without looking beyond it.

    ``season_s`` and ``model`` may be of an earlier hour or day.
    """
    ahead = max(1, round(horizon_s / past.step_s))
    now = np.array([past.size - 1 if place is None else place])
    newest, mean = _rises(past, now, ahead, season_s)
    usable = model is not None and model.version == VERSION and model.step_s == past.step_s
    return Retrospect(
        at=past.end - (past.size - 1 - int(now[0])) * past.step_s,
        level=level,
        newest_rise=newest,
        mean_rise=mean,
        boosted=_boosted(past, now, ahead, probabilities, model) if model is not None and usable else None,
    )


def _rises(past: Past, now: IntArray, ahead: int, season_s: float | None) -> tuple[float | None, float | None]:
    if season_s is None or season_s < ahead * past.step_s:
        return None, None
    earlier = [float(rise[0]) for rise in season_rises(past, now, ahead=ahead, season_s=season_s)]
    known = [rise for rise in earlier if np.isfinite(rise)]
    if not known:
        return None, None
    return known[0], float(np.mean(known))


def _boosted(
    past: Past, now: IntArray, ahead: int, probabilities: Sequence[float], model: FittedModel
) -> tuple[float, ...] | None:
    seen = features(past, now, ahead=ahead, season_s=model.season_s)
    if not np.isfinite(seen.level[0]):
        return None
    answers = [float(seen.level[0] + seen.unrest[0] * forest.predict(seen.rows[0])) for forest in model.forests]
    nearest = [int(np.argmin([abs(asked - own) for own in model.probabilities])) for asked in probabilities]
    return tuple(max(0.0, answers[place]) for place in nearest)
