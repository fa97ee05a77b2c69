"""A gradient-boosted model as plain arrays: quick to ask, safe to store, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.forecast.arrays import BoolArray, FloatArray, IntArray

VERSION = 1
"""Changes with the meaning of the arrays or of the features; a model of another version is not used."""


@dataclass(frozen=True, slots=True)
class Forest:
    """The trees of one quantile, node after node. A leaf points at itself."""

    baseline: float
    roots: IntArray
    feature: IntArray
    threshold: FloatArray
    missing_left: BoolArray
    left: IntArray
    right: IntArray
    value: FloatArray
    depth: int

    def predict(self, row: FloatArray) -> float:
        """Value for one row of features."""
        return float(self.predict_rows(row[None, :])[0])

    def predict_rows(self, rows: FloatArray) -> FloatArray:
        """Values for rows of features."""
        nodes = np.broadcast_to(self.roots, (rows.shape[0], self.roots.size))
        rows_of = np.arange(rows.shape[0])[:, None]
        for _ in range(self.depth):
            seen = rows[rows_of, self.feature[nodes]]
            goes_left = (seen <= self.threshold[nodes]) | (np.isnan(seen) & self.missing_left[nodes])
            nodes = np.where(goes_left, self.left[nodes], self.right[nodes])
        total: FloatArray = self.baseline + self.value[nodes].sum(axis=1)
        return total


@dataclass(frozen=True, slots=True)
class FittedModel:
    """Quantile forests of one signal at one horizon, and the season its features were made with.

    ``fitted_at`` is the end of the history it was fitted to, ``rows`` how many origins that gave, ``events`` the
    announced events that it has seen.
    """

    version: int
    fitted_at: float
    horizon_s: float
    step_s: float
    season_s: float | None
    probabilities: tuple[float, ...]
    forests: tuple[Forest, ...]
    rows: int
    events: tuple[str, ...] = ()
