"""Bounds, steps and pause have the last word."""

from typing import Any

import pytest

from controller.domain.plan import Action, Reason, Step
from controller.domain.reading import Unknown
from controller.domain.state import DeploymentMemory
from tests.planning import decided, given, policy, seen, state


@pytest.mark.parametrize(
    ("demand", "target", "limits", "desired", "why"),
    [
        pytest.param(200, 9, {}, 10, (Reason.AT_MAX, "25 is above the most, 10"), id="most"),
        pytest.param(0, 2, {}, 1, (Reason.AT_MIN, "0 is below the least, 1"), id="least"),
        pytest.param(0, 1, {"min_replicas": 0}, 0, (Reason.IDLE, "0 is within 0 to 10"), id="scale-to-zero"),
        pytest.param(
            80,
            1,
            {"max_step_up": 3},
            4,
            (Reason.MAX_STEP_UP, "at most 3 more at once on the way to 10"),
            id="largest-step-up",
        ),
        pytest.param(32, 1, {"max_step_up": 3}, 4, (Reason.DEMAND, "4 is within 1 to 10"), id="just-a-step-up"),
        pytest.param(
            8,
            9,
            {"max_step_down": 2},
            7,
            (Reason.MAX_STEP_DOWN, "at most 2 fewer at once on the way to 2"),
            id="largest-step-down",
        ),
        pytest.param(48, 9, {"max_step_down": 2}, 7, (Reason.DEMAND, "7 is within 1 to 10"), id="just-a-step-down"),
        pytest.param(16, 2, {}, 2, (Reason.STEADY, "2 is within 1 to 10"), id="nothing-to-limit"),
    ],
)
def test_limits(demand: float, target: int, limits: dict[str, int], desired: int, why: tuple[Reason, str]) -> None:
    idle = state(DeploymentMemory(known_since=0, idle_since=0))

    decision, _ = decided(given(seen(demand, target=target), policy(limits=limits)), idle)

    assert (decision.desired, decision.binding) == (desired, why[0])
    assert decision.steps[-1] == Step("limit", desired, *why)


@pytest.mark.parametrize(
    ("target", "limits", "desired", "reason"),
    [
        pytest.param(1, {"min_replicas": 3}, 3, Reason.AT_MIN, id="raised-least"),
        pytest.param(9, {"max_replicas": 6}, 6, Reason.AT_MAX, id="lowered-most"),
        pytest.param(9, {"max_replicas": 2, "max_step_down": 4}, 5, Reason.MAX_STEP_DOWN, id="lowered-in-steps"),
    ],
)
def test_moved_bounds_are_followed_at_once_even_without_data(
    target: int, limits: dict[str, int], desired: int, reason: Reason
) -> None:
    observed = seen(Unknown("stale"), target=target, blind_spots=("ray/a is stale",))

    decision, _ = decided(given(observed, policy(limits=limits)))

    assert (decision.desired, decision.binding) == (desired, reason)


@pytest.mark.parametrize(
    ("section", "target", "would"),
    [({}, 2, 5), ({"limits": {"min_replicas": 4}}, 2, 5), ({"limits": {"max_replicas": 1}}, 3, 1)],
)
def test_paused_leaves_the_target_alone_and_says_what_it_would_do(
    section: dict[str, Any], target: int, would: int
) -> None:
    decision, _ = decided(given(seen(40, target=target), policy(paused=True, **section)))

    assert (decision.desired, decision.action, decision.binding) == (target, Action.NONE, Reason.PAUSED)
    assert decision.steps[-1] == Step("limit", target, Reason.PAUSED, f"paused; would otherwise set {would}")
