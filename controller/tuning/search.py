"""Which point to try next: at random first, evenly spread; then near the best trade-offs found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.tuning.space import Value

Point = tuple[float, ...]

_RANDOM_SHARE = 0.5
_WIDE, _NARROW = 0.25, 0.06
_MOVED_SHARE = 0.5
_CLOSE_MISS = 0.01
"""A trade-off that keeps nearly enough is worth refining, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate and what came of it; ``attainment`` is that of the worst trace. Number 0 is the base policy."""

    number: int
    point: Point | None
    values: dict[str, Value]
    gpu_hours: float | None = None
    attainment: float | None = None
    traces: tuple[dict[str, float | str], ...] = ()
    problem: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was replayed."""
        return self.gpu_hours is not None and self.attainment is not None


def generation_size(trials: int) -> int:
    """How many are proposed at once: by the number of trials alone, so that the same ones are tried on any machine."""
    return max(4, -(-trials // 10))


def propose(
    done: Sequence[Trial], *, first: int, count: int, trials: int, size: int, objective: float, seed: int
) -> list[Point]:
    """Return the points of trials ``first`` to ``first + count - 1``, given all the trials before ``first``."""
    rng = np.random.default_rng([seed, first])
    if first <= _RANDOM_SHARE * trials or not any(trial.is_done and trial.point for trial in done):
        return _spread(rng, count, size)
    late = (first - _RANDOM_SHARE * trials) / max(1.0, (1 - _RANDOM_SHARE) * trials)
    reach = _WIDE + (_NARROW - _WIDE) * min(1.0, late)
    parents = _parents(done, objective)
    return [_near(parents[int(rng.integers(len(parents)))], reach, rng) for _ in range(count)]


def pareto_front(done: Sequence[Trial]) -> list[Trial]:
    """Those that no other one beats in both: cheapest first."""
    ranked = sorted(
        (trial for trial in done if trial.is_done),
        key=lambda trial: (trial.gpu_hours or 0.0, -(trial.attainment or 0.0), trial.number),
    )
    front: list[Trial] = []
    best = -1.0
    for trial in ranked:
        if (trial.attainment or 0.0) > best:
            best = trial.attainment or 0.0
            front.append(trial)
    return front


def cheapest(done: Sequence[Trial], objective: float) -> Trial | None:
    """Return the cheapest one that keeps the objective."""
    kept = [trial for trial in done if trial.is_done and (trial.attainment or 0.0) >= objective]
    return min(kept, key=lambda trial: (trial.gpu_hours or 0.0, trial.number), default=None)


def _parents(done: Sequence[Trial], objective: float) -> list[Point]:
    """Points of the front that keep nearly enough, the cheapest of them more than once; else the best there is."""
    tried = [trial for trial in done if trial.is_done and trial.point is not None]
    front = [trial for trial in pareto_front(tried) if (trial.attainment or 0.0) >= objective - _CLOSE_MISS]
    if not front:
        front = [max(tried, key=lambda trial: trial.attainment or 0.0)]
    chosen = [*front, *front[:1], *front[:1]]
    return [trial.point for trial in chosen if trial.point is not None]


def _spread(rng: np.random.Generator, count: int, size: int) -> list[Point]:
    """Latin hypercube: each parameter has one value in each of ``count`` equal parts of its range."""
    columns = [(rng.permutation(count) + rng.random(count)) / count for _ in range(size)]
    return [tuple(float(column[row]) for column in columns) for row in range(count)]


def _near(parent: Point, reach: float, rng: np.random.Generator) -> Point:
    moved = rng.random(len(parent)) < _MOVED_SHARE
    moved[int(rng.integers(len(parent)))] = True
    steps = rng.normal(0.0, reach, len(parent)) * moved
    folded = np.abs(np.asarray(parent) + steps) % 2.0
    return tuple(np.where(folded > 1.0, 2.0 - folded, folded).tolist())
