"""The last word: the operator's bounds, the largest step, and the pause."""

from __future__ import annotations

from controller.domain.plan import Reason, Step
from controller.policy.model import Limits


def limit(stable: Step, *, current: int, limits: Limits, paused: bool) -> Step:
    """Bound the number; only the budget that all deployments share may lower it after this.

    A target outside the bounds is brought inside at once, by at most one step per tick, whatever is
    known about demand: moved bounds are an operator's order, not missing data. Paused holds ``current``
    even outside the bounds.
    """
    bounded = _within_bounds(stable, limits)
    stepped = _within_step(bounded, current, limits)
    if paused:
        return Step("limit", current, Reason.PAUSED, f"paused; would otherwise set {stepped.replicas}")
    return stepped


def _within_bounds(stable: Step, limits: Limits) -> Step:
    if stable.replicas < limits.min_replicas:
        detail = f"{stable.replicas} is below the least, {limits.min_replicas}"
        return Step("limit", limits.min_replicas, Reason.AT_MIN, detail)
    if stable.replicas > limits.max_replicas:
        detail = f"{stable.replicas} is above the most, {limits.max_replicas}"
        return Step("limit", limits.max_replicas, Reason.AT_MAX, detail)
    detail = f"{stable.replicas} is within {limits.min_replicas} to {limits.max_replicas}"
    return Step("limit", stable.replicas, stable.reason, detail)


def _within_step(bounded: Step, current: int, limits: Limits) -> Step:
    highest, lowest = current + limits.max_step_up, current - limits.max_step_down
    if bounded.replicas > highest:
        detail = f"at most {limits.max_step_up} more at once on the way to {bounded.replicas}"
        return Step("limit", highest, Reason.MAX_STEP_UP, detail)
    if bounded.replicas < lowest:
        detail = f"at most {limits.max_step_down} fewer at once on the way to {bounded.replicas}"
        return Step("limit", lowest, Reason.MAX_STEP_DOWN, detail)
    return bounded
