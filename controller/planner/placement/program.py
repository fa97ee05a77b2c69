"""A small integer program: variables with upper bounds, linear rows, and objectives in order of importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controller.planner.placement.objective import TOLERANCE

if TYPE_CHECKING:
    from scipy.optimize import LinearConstraint

Terms = Mapping[int, float]
"""Coefficients by variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long an exact solution may be looked for.

    ``nodes`` of the search tree for each objective is what ends a search first, so that the same problem ends
    the same way on every machine; ``seconds`` for all objectives together is the net below it.
    """

    nodes: int = 2000
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """A feasible point. ``unproven`` is the first objective for which it may not be best, by the share ``gap``."""

    values: NDArray[np.int64]
    unproven: int | None
    gap: float


@dataclass(slots=True)
class Program:
    """Non-negative whole variables and rows ``low <= terms <= high``, under construction."""

    upper: list[float] = field(default_factory=list)
    rows: list[tuple[Terms, float, float]] = field(default_factory=list)

    def variable(self, upper: float = np.inf) -> int:
        """Add a variable from 0 to ``upper``; return its number."""
        self.upper.append(upper)
        return len(self.upper) - 1

    def at_most(self, terms: Terms, high: float) -> None:
        """Add the row ``terms <= high``."""
        if terms:
            self.rows.append((terms, -np.inf, high))

    def exactly(self, terms: Terms, value: float) -> None:
        """Add the row ``terms = value``."""
        self.rows.append((terms, value, value))

    def minimise(self, objectives: Sequence[Terms], known: Sequence[float | None], effort: Effort) -> Found | None:
        """Minimise each objective without giving up any of those before it.

        ``known`` are values that cannot be undercut and that some point reaches for all objectives before the
        first None: these need no search. None is returned when no point was found within the effort.
        """
        share_s = effort.seconds / max(1, len(objectives))
        best: NDArray[np.int64] | None = None
        searching = False
        for number, (terms, reached) in enumerate(zip(objectives, known, strict=True)):
            searching = searching or reached is None
            if not searching or not terms:
                self.at_most(terms, (reached or 0.0) + TOLERANCE)
                continue
            if best is not None and _value(terms, best) <= TOLERANCE:
                self.at_most(terms, TOLERANCE)
                continue
            values, gap = self._solve(terms, effort.nodes, share_s)
            best = values if values is not None else best
            if best is None:
                return None
            if values is None or gap > TOLERANCE:
                return Found(best, unproven=number, gap=gap)
            value = _value(terms, values)
            self.at_most(terms, value + TOLERANCE * max(1.0, abs(value)))
        if best is None:
            best, _ = self._solve({}, effort.nodes, share_s)
        return None if best is None else Found(best, unproven=None, gap=0.0)

    def _solve(self, objective: Terms, nodes: int, seconds: float) -> tuple[NDArray[np.int64] | None, float]:
        costs = np.zeros(len(self.upper))
        for variable, coefficient in objective.items():
            costs[variable] = coefficient
        # Only here: a controller without a cluster to plan does without scipy's memory.
        from scipy.optimize import Bounds, milp  # noqa: PLC0415

        answer = milp(
            costs,
            integrality=np.ones(len(self.upper), dtype=np.int64),
            bounds=Bounds(np.zeros(len(self.upper)), np.asarray(self.upper)),
            constraints=self._constraints(),
            options={"node_limit": nodes, "time_limit": seconds, "mip_rel_gap": 0.0},
        )
        if answer.x is None:
            return None, 1.0
        gap = 0.0 if answer.status == 0 else float(answer.mip_gap or 0.0)
        if answer.status != 0:
            gap = max(gap, 2 * TOLERANCE)
        return np.rint(answer.x).astype(np.int64), gap

    def _constraints(self) -> LinearConstraint:
        from scipy.optimize import LinearConstraint  # noqa: PLC0415
        from scipy.sparse import csr_array  # noqa: PLC0415

        data = [coefficient for terms, _, _ in self.rows for coefficient in terms.values()]
        columns = [variable for terms, _, _ in self.rows for variable in terms]
        ends = np.cumsum([0, *(len(terms) for terms, _, _ in self.rows)])
        matrix = csr_array((data, columns, ends), shape=(len(self.rows), len(self.upper)))
        return LinearConstraint(matrix, [row[1] for row in self.rows], [row[2] for row in self.rows])


def _value(terms: Terms, values: NDArray[np.int64]) -> float:
    return float(sum(coefficient * values[variable] for variable, coefficient in terms.items()))
