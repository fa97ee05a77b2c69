"""Replicas on nodes that are kept anyway, as far as a budget pays for them."""

from __future__ import annotations

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import PlanInput, decide
from controller.planner.early import within_budget
from controller.policy.model import Budget
from tests.planning import NOW, given, policy, seen

A, B = (DeploymentId("app", name) for name in "ab")


def wants(name: DeploymentId, replicas: int, *, target: int, **terms: object) -> PlanInput:
    return given(seen(8 * replicas, target=target, deployment=name), policy(name, **terms))  # type: ignore[arg-type]


def early(inputs: list[PlanInput], towards: dict[DeploymentId, int], budget: Budget) -> dict[DeploymentId, int]:
    known = tuple((one.snapshot.id, DeploymentMemory(known_since=0.0)) for one in inputs)
    plan, after = decide(inputs, PlannerState(deployments=known), now=NOW, budget=budget)
    return dict(within_budget(towards, inputs, plan.decisions, dict(after.deployments), budget))


@pytest.mark.parametrize(
    ("gpus", "of_b", "expected"),
    [
        pytest.param(20, (2, 2), {A: 5}, id="as-many-as-nodes-are-kept-for"),
        pytest.param(6, (2, 2), {A: 4}, id="as-many-as-is-left"),
        pytest.param(4, (2, 2), {}, id="nothing-is-left"),
        pytest.param(8, (5, 2), {A: 3}, id="not-what-another-wants"),
        pytest.param(6, (5, 2), {}, id="nothing-while-another-waits"),
        pytest.param(8, (2, 5), {A: 3}, id="not-what-another-holds-yet"),
    ],
)
def test_what_nobody_holds_or_wants_may_start_early(
    gpus: int, of_b: tuple[int, int], expected: dict[DeploymentId, int]
) -> None:
    b_wants, b_holds = of_b
    inputs = [wants(A, 2, target=2), wants(B, b_wants, target=b_holds)]

    assert early(inputs, {A: 5, B: b_wants}, Budget(gpus=gpus)) == expected


def test_what_runs_early_already_goes_on_and_gives_way_to_what_is_wanted() -> None:
    running = wants(A, 2, target=5)

    assert early([running, wants(B, 2, target=2)], {A: 5}, Budget(gpus=7)) == {A: 5}
    assert early([running, wants(B, 3, target=2)], {A: 5}, Budget(gpus=7)) == {}


def test_the_higher_priority_comes_first() -> None:
    inputs = [wants(A, 1, target=1), wants(B, 1, target=1, priority=1)]

    assert early(inputs, {A: 3, B: 3}, Budget(gpus=5)) == {A: 2, B: 3}


def test_who_is_not_known_keeps_what_it_may_hold() -> None:
    blind = given(seen(Unknown("stale"), target=None, deployment=B), policy(B))

    assert early([wants(A, 2, target=2), blind], {A: 5}, Budget(gpus=12)) == {}


def test_money_counts_like_gpus() -> None:
    inputs = [wants(A, 2, target=2, gpu_price_per_hour=2.0)]

    assert early(inputs, {A: 5}, Budget(spend_per_hour=7.0)) == {A: 3}
