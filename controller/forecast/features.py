"""What the boosted model sees of the past: everything relative to the level, in units of its unrest.

So a model learned at one level holds at another, and one learned on requests could be read on tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.forecast.announced import Announced, event_columns
from controller.forecast.arrays import FloatArray, IntArray
from controller.forecast.past import Past

DAY_S = 86_400.0
_LAGS = (0, 1, 2, 3, 4, 6, 9)
_WIDTHS = (2, 8, 24, 80, 240)
_LEVEL_MEMORY = 2.8
"""Steps: a weight of 0.3 for the newest."""

_THEN_WIDTH = 8
_UNREST_MEMORIES = (10, 60, 500)
_PERIODS_BACK = (1, 2, 3, 7)


@dataclass(frozen=True, slots=True)
class Features:
    """One row per origin. ``level`` and ``unrest`` bring a prediction back to the signal's unit."""

    rows: FloatArray
    level: FloatArray
    unrest: FloatArray


def features(
    past: Past,
    origins: IntArray,
    *,
    ahead: int,
    season_s: float | None,
    announced: Sequence[Announced] = (),
    events: Sequence[str] = (),
) -> Features:
    """What is known at the end of each of ``origins``; NaN where it is not. A column for each of ``events``."""
    level = past.smoothed(origins, _LEVEL_MEMORY)
    lately, middle, long = _surprises(past, origins)
    unrest = np.maximum(middle, 0.3 * long)
    tiny = np.finfo(np.float64).tiny
    scale = np.where(unrest > 0, unrest, np.where(level > 0, 0.01 * level, 1.0))
    columns = [(past.at(origins - lag) - level) / scale for lag in _LAGS]
    columns += [(past.means(origins, width) - level) / scale for width in _WIDTHS]
    columns.append((past.largest(origins - ahead, ahead) - level) / scale)
    columns += [lately / scale, long / scale, scale / np.maximum(level, tiny)]
    columns += _seasonal(past, origins, level, scale, ahead=ahead, season_s=season_s)
    columns += _calendar(past, origins)
    columns += event_columns(announced, events, past.ends(origins), ahead * past.step_s)
    rows = np.clip(np.stack(columns, axis=1), -1e6, 1e6)
    return Features(rows, level, scale)


def rises(past: Past, origins: IntArray, periods: int, *, ahead: int) -> FloatArray:
    """What followed ``periods`` steps earlier, relative to the level there."""
    then = origins - periods
    level = past.means(then, _THEN_WIDTH)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise: FloatArray = past.largest(then, ahead) / level
    return np.where(np.isfinite(rise) & (then >= 0), np.clip(rise, 0.0, 5.0), np.nan)


def season_rises(past: Past, origins: IntArray, *, ahead: int, season_s: float) -> list[FloatArray]:
    """Rises one, two, three and seven seasons earlier."""
    season = round(season_s / past.step_s)
    return [rises(past, origins, back * season, ahead=ahead) for back in _PERIODS_BACK]


def _surprises(past: Past, origins: IntArray) -> list[FloatArray]:
    """Mean distance of a step from the level before it, over three memories."""
    first = max(0, int(origins.min()) - 5 * _UNREST_MEMORIES[-1])
    steps = np.arange(first, int(origins.max()) + 1)
    expected = np.concatenate([[np.nan], past.smoothed(steps, _LEVEL_MEMORY)[:-1]])
    surprises = Past(past.step_s, 0.0, np.abs(past.values[first : steps[-1] + 1] - expected))
    return [surprises.smoothed(origins - first, memory) for memory in _UNREST_MEMORIES]


def _seasonal(
    past: Past, origins: IntArray, level: FloatArray, scale: FloatArray, *, ahead: int, season_s: float | None
) -> list[FloatArray]:
    nothing = np.full(origins.size, np.nan)
    if season_s is None:
        return [nothing] * (len(_PERIODS_BACK) + 2)
    earlier = np.stack(season_rises(past, origins, ahead=ahead, season_s=season_s))
    known = np.isfinite(earlier)
    mean = np.where(known, earlier, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    mean = np.where(known.any(axis=0), mean, np.nan)
    shifted = past.smoothed(origins - round(season_s / past.step_s), _LEVEL_MEMORY) / np.maximum(level, 1e-300)
    return [*((one - 1) * level / scale for one in earlier), (mean - 1) * level / scale, shifted]


def _calendar(past: Past, origins: IntArray) -> list[FloatArray]:
    """Time of day, once there is more than one day to learn it from."""
    if past.size * past.step_s <= DAY_S:
        return [np.full(origins.size, np.nan)] * 2
    angle = 2 * np.pi * (past.ends(origins) % DAY_S) / DAY_S
    return [np.sin(angle), np.cos(angle)]
