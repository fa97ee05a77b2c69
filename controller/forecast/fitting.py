"""Fits gradient-boosted quantiles to a signal's past. Slow (about a second): for a worker, never for a tick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from controller.domain.snapshot import History
from controller.forecast.announced import Announced, names
from controller.forecast.arrays import FloatArray, IntArray
from controller.forecast.features import features
from controller.forecast.fitted import VERSION, FittedModel, Forest
from controller.forecast.past import Past
from controller.forecast.seasons import season_s
from controller.forecast.target import Target

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

_LEAST_ROWS = 200
_MOST_ROWS = 8000
_LONGEST_S = 14 * 86_400.0
_EXTREME = 30.0
"""Targets are cut off at this many units of unrest: no single flash crowd rules the fit."""


def fit(
    history: History,
    *,
    horizon_s: float,
    probabilities: Sequence[float],
    seed: int,
    announced: Sequence[Announced] = (),
) -> FittedModel | None:
    """Fit to at most the last 14 days; the same arguments always give the same model.

    ``history`` is the coarse one (60 s), ``announced`` what was announced in that time. None with fewer than 200
    origins whose outcome is known.
    """
    return fit_past(Past.of(history), horizon_s=horizon_s, probabilities=probabilities, seed=seed, announced=announced)


def fit_past(
    past: Past,
    *,
    horizon_s: float,
    probabilities: Sequence[float],
    seed: int,
    target: Target = Target.MAXIMUM,
    announced: Sequence[Announced] = (),
) -> FittedModel | None:
    """``fit`` for a past that is already read, and any target."""
    maximum = target is Target.MAXIMUM
    ahead = max(1, round(horizon_s / past.step_s))
    first = max(0, past.size - round(_LONGEST_S / past.step_s))
    origins = np.arange(first, past.size - ahead)
    if origins.size < _LEAST_ROWS:
        return None
    outcome = past.after(origins, ahead, maximum=maximum)
    origins = origins[np.isfinite(outcome) & np.isfinite(past.at(origins))]
    if origins.size < _LEAST_ROWS:
        return None
    origins = _some_of(origins, seed)
    season = season_s(past)
    events = names(announced)
    seen = features(past, origins, ahead=ahead, season_s=season, announced=announced, events=events)
    outcome = past.after(origins, ahead, maximum=maximum)
    errors = np.clip((outcome - seen.level) / seen.unrest, -_EXTREME, _EXTREME)
    telling = [column for column in range(seen.rows.shape[1]) if _varies(seen.rows[:, column])]
    # One thread: a fit stays within one core, and threads that wait for each other on a busy machine take minutes.
    with threadpool_limits(limits=1, user_api="openmp"):
        forests = tuple(_forest(seen.rows, errors, telling, probability, seed) for probability in probabilities)
    return FittedModel(
        VERSION, past.end, horizon_s, past.step_s, season, tuple(probabilities), forests, int(origins.size), events
    )


def _some_of(origins: IntArray, seed: int) -> IntArray:
    """Not more than needed, the order of time kept."""
    if origins.size <= _MOST_ROWS:
        return origins
    return np.sort(np.random.default_rng(seed).choice(origins, _MOST_ROWS, replace=False))


def _varies(column: FloatArray) -> bool:
    known = column[np.isfinite(column)]
    return known.size > 1 and float(np.ptp(known)) > 0


def _forest(rows: FloatArray, target: FloatArray, telling: list[int], probability: float, seed: int) -> Forest:
    # 120 MB that only the process which fits should hold.
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415

    model = HistGradientBoostingRegressor(
        loss="quantile",
        quantile=probability,
        max_iter=80,
        learning_rate=0.08,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    ).fit(rows[:, telling], target)
    return _flattened(model, np.array(telling, dtype=np.int64))


def _flattened(model: HistGradientBoostingRegressor, columns: IntArray) -> Forest:
    """Copy the trees out of scikit-learn's own arrays (a test holds its predictions against ours)."""
    trees = [stage[0].nodes for stage in model._predictors]  # noqa: SLF001 - there is no public way
    roots = np.cumsum([0, *(tree.size for tree in trees[:-1])])
    nodes = np.concatenate(trees)
    offset = np.repeat(roots, [tree.size for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)
    here = np.arange(nodes.size)
    return Forest(
        baseline=float(np.ravel(model._baseline_prediction)[0]),  # noqa: SLF001
        roots=roots.astype(np.int64),
        feature=np.where(leaf, 0, columns[nodes["feature_idx"].astype(np.int64) * ~leaf]),
        threshold=np.where(leaf, np.inf, nodes["num_threshold"]).astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=np.where(leaf, here, nodes["left"] + offset).astype(np.int64),
        right=np.where(leaf, here, nodes["right"] + offset).astype(np.int64),
        value=np.where(leaf, nodes["value"], 0.0).astype(np.float64),
        depth=int(nodes["depth"].max()),
    )
