"""Solves an assignment problem: exactly where that is possible within the effort, else greedily."""

from __future__ import annotations

from controller.domain.placement import Solved, Solver
from controller.planner.placement.exact import solve_exactly
from controller.planner.placement.greedy import solve_greedily
from controller.planner.placement.objective import better, criteria
from controller.planner.placement.problem import Packing, Problem
from controller.planner.placement.program import Effort


def solve(problem: Problem, effort: Effort) -> tuple[Packing, Solved]:
    """Return the best assignment found, and how it was found. There is always one: nothing placed is one too."""
    greedy = solve_greedily(problem)
    greedy_value = criteria(problem, greedy)
    size = f"{_count(len(problem.classes), 'class')} of replicas, {_count(len(problem.hosts), 'kind')} of nodes"
    if all(criterion.value <= 0 for criterion in greedy_value):
        detail = f"{size}: one by one, and nothing could be better"
        return greedy, Solved(solver=Solver.GREEDY, proven=True, gap=0.0, criteria=greedy_value, detail=detail)
    exact = solve_exactly(problem, greedy_value, effort)
    if exact is None:
        detail = f"{size}: one by one; the exact search found nothing within its effort"
        return greedy, Solved(solver=Solver.GREEDY, proven=False, gap=1.0, criteria=greedy_value, detail=detail)
    exact_value = criteria(problem, exact.packing)
    if better(greedy_value, exact_value):
        detail = f"{size}: one by one, which beats what the exact search found within its effort"
        return greedy, Solved(solver=Solver.GREEDY, proven=False, gap=exact.gap, criteria=greedy_value, detail=detail)
    proof = "the best of all"
    if exact.unproven is not None:
        proof = f"{exact_value[exact.unproven].name} could be less by up to {exact.gap:.1%}"
    gain = "; one by one would do as well"
    if better(exact_value, greedy_value):
        gain = "; one by one would be worse: " + _difference(problem, greedy, exact.packing)
    detail = f"{size}: {proof}{gain}"
    return exact.packing, Solved(
        solver=Solver.EXACT, proven=exact.unproven is None, gap=exact.gap, criteria=exact_value, detail=detail
    )


def _difference(problem: Problem, worse: Packing, best: Packing) -> str:
    pairs = zip(criteria(problem, worse), criteria(problem, best), strict=True)
    return next(
        f"{one.name} {one.value:g} instead of {other.value:g}" for one, other in pairs if better((other,), (one,))
    )


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
