"""Serve is asked for what has a place; never for less than it was asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from controller.domain.placement import ClusterPlan, Obstacle, PoolTarget, Unplaced
from controller.domain.plan import Action, Reason, Step
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import Plan, decide
from controller.planner.housing import housed as housed_with
from tests.planning import CHAT, NOW, given, policy, seen

RULES = policy(limits={"min_replicas": 1, "max_replicas": 9})
housed = partial(housed_with, now=NOW, max_age_s=30.0)
UNSEEN = ClusterPlan(held="the nodes are unknown")
COMING = (PoolTarget(pool="l4", nodes=3, present=1, in_use=1, coming=2, new=1),)


def planned(load: float, target: int, before: PlannerState | None = None) -> tuple[Plan, PlannerState]:
    observed = seen(load * RULES.capacity.target_ongoing_requests, target=target)
    return decide([given(observed, RULES)], before or PlannerState(), now=NOW)


@pytest.mark.parametrize(
    ("target", "places", "desired", "action", "reason"),
    [
        pytest.param(1, 5, 5, Action.SCALE_UP, Reason.DEMAND, id="all-have-a-place"),
        pytest.param(1, 3, 3, Action.SCALE_UP, Reason.NO_PLACE, id="some-wait"),
        pytest.param(1, 1, 1, Action.NONE, Reason.NO_PLACE, id="all-wait"),
        pytest.param(3, 1, 3, Action.NONE, Reason.NO_PLACE, id="never-below-the-target"),
        pytest.param(5, 1, 5, Action.NONE, Reason.STEADY, id="nothing-to-raise"),
    ],
)
def test_a_raise_goes_as_far_as_there_are_places(
    target: int, places: int, desired: int, action: Action, reason: Reason
) -> None:
    plan, state = planned(5, target)

    bounded, after = housed(plan, state, PlannerState(), ClusterPlan(housed=((CHAT, places),), pools=COMING), {})
    (decision,) = bounded.decisions

    assert (decision.desired, decision.action, decision.binding) == (desired, action, reason)
    assert after.memory(CHAT).attempted == (desired if action is Action.SCALE_UP else None)


def test_the_stage_tells_the_number_and_what_it_rests_on() -> None:
    plan, state = planned(5, 1)
    decided = plan.decisions[0].steps

    def steps(places: int, **given: object) -> tuple[Step, ...]:
        bounded, _ = housed(
            plan, state, PlannerState(), ClusterPlan(housed=((CHAT, places),), pools=COMING), {}, **given
        )  # type: ignore[arg-type]
        return bounded.decisions[0].steps

    waiting = "2 of 5 wait for workers: nodes are ordered or coming (3 of l4)"
    assert steps(6) == (*decided, Step("place", 5, Reason.DEMAND, "6 have a place on workers that run or start"))
    assert steps(3) == (*decided, Step("place", 3, Reason.NO_PLACE, waiting))
    assert steps(7, startable={CHAT: 7})[len(decided) + 1 :] == (
        Step("place", 7, Reason.NODE_READY, "2 more than the 5 on nodes that are kept for what is foreseen"),
    )


def test_nodes_that_only_start_are_said_to() -> None:
    plan, state = planned(5, 1)

    bounded, _ = housed(plan, state, PlannerState(), ClusterPlan(housed=((CHAT, 1),)), {})

    assert bounded.decisions[0].steps[-1].detail == "4 of 5 wait for workers: nodes are starting"


def test_a_target_that_was_asked_for_without_an_answer_stays_ours_while_nothing_is_asked() -> None:
    before = PlannerState(deployments=((CHAT, DeploymentMemory(attempted=7)),))
    plan, state = planned(5, 1, before)

    _, after = housed(plan, state, before, ClusterPlan(housed=((CHAT, 1),), pools=COMING), {})

    assert after.memory(CHAT).attempted == 7


def test_where_the_target_is_unknown_nothing_is_started() -> None:
    plan, state = decide([given(seen(8, target=None), RULES)], PlannerState(), now=NOW)

    housed_plan, _ = housed(plan, state, PlannerState(), ClusterPlan(housed=((CHAT, 3),)), {}, startable={CHAT: 3})

    assert housed_plan == plan


@pytest.mark.parametrize(
    ("load", "target", "places", "startable", "expected"),
    [
        pytest.param(1, 1, 3, 3, (3, Action.SCALE_UP, Reason.NODE_READY), id="on-nodes-that-are-kept"),
        pytest.param(1, 1, 3, 2, (2, Action.SCALE_UP, Reason.NODE_READY), id="no-more-than-foreseen"),
        pytest.param(1, 1, 2, 3, (2, Action.SCALE_UP, Reason.NODE_READY), id="no-more-than-there-are-nodes"),
        pytest.param(1, 1, 3, 0, (1, Action.NONE, Reason.STEADY), id="nothing-foreseen"),
        pytest.param(0.5, 3, 3, 3, (3, Action.NONE, Reason.NODE_READY), id="not-given-up-while-its-node-is-kept"),
        pytest.param(0.5, 3, 3, 2, (2, Action.SCALE_DOWN, Reason.NODE_READY), id="given-up-with-its-node"),
        pytest.param(5, 1, 3, 5, (3, Action.SCALE_UP, Reason.NO_PLACE), id="what-is-needed-now-comes-first"),
    ],
)
def test_replicas_are_started_at_once_where_nodes_are_kept(
    load: float, target: int, places: int, startable: int, expected: tuple[int, Action, Reason]
) -> None:
    before = PlannerState(deployments=((CHAT, DeploymentMemory(known_since=0.0, drain_since=NOW - 60)),))
    plan, state = planned(load, target, before)

    raised, after = housed(
        plan, state, before, ClusterPlan(housed=((CHAT, places),), pools=COMING), {}, startable={CHAT: startable}
    )
    (decision,) = raised.decisions

    assert (decision.desired, decision.action, decision.binding) == expected
    assert after.memory(CHAT).attempted == (None if expected[1] is Action.NONE else expected[0])
    if expected[2] is Reason.NODE_READY:
        assert after.memory(CHAT).drain_since is None


def test_what_is_waited_for_is_said() -> None:
    plan, state = planned(5, 1)
    short = Unplaced(id=CHAT, replicas=2, obstacle=Obstacle.STOCKED_OUT, detail="l4: stocked out (GCE_STOCKOUT)")
    on_its_way = ClusterPlan(housed=((CHAT, 1),), pools=COMING)

    waiting, _ = housed(plan, state, PlannerState(), on_its_way, {})
    stuck, _ = housed(plan, state, PlannerState(), replace(on_its_way, unplaced=(short,)), {})

    assert "4 of 5 wait for workers: nodes are ordered or coming (3 of l4)" in waiting.decisions[0].steps[-1].detail
    assert "2 have no place at all: l4: stocked out" in stuck.decisions[0].steps[-1].detail


@pytest.mark.parametrize(
    ("age_s", "places", "desired", "detail"),
    [
        pytest.param(10, 2, 2, "3 of 5 wait for workers: the nodes are unknown; 2 had a place 10 s ago", id="just-now"),
        pytest.param(30, 1, 1, "4 of 5 wait for workers: the nodes are unknown; 1 had a place 30 s ago", id="as-old"),
        pytest.param(10, 5, 5, "5 have a place on workers that run or start", id="a-place-for-all"),
        pytest.param(31, 1, 5, None, id="too-old-to-be-known"),
    ],
)
def test_while_the_cluster_is_not_seen_the_places_that_were_there_bound_a_raise_for_a_while(
    age_s: float, places: int, desired: int, detail: str | None
) -> None:
    plan, state = planned(5, 1)
    _, seen_before = housed(
        plan, state, PlannerState(), ClusterPlan(housed=((CHAT, places),)), {}, now=NOW - age_s, startable={CHAT: 9}
    )
    plan, state = planned(5, 1, seen_before)

    bounded, after = housed(plan, state, seen_before, UNSEEN, {}, startable={CHAT: 9})

    (decision,) = bounded.decisions
    assert decision.desired == desired
    assert decision.steps[-1].detail == (detail or plan.decisions[0].steps[-1].detail)
    assert after.memory(CHAT).places == (NOW - age_s, places)


def test_places_that_cannot_be_told_any_more_are_forgotten() -> None:
    before = PlannerState(deployments=((CHAT, DeploymentMemory(places=(NOW - 10, 1))),))
    plan, state = planned(5, 1, before)

    _, after = housed(plan, state, before, ClusterPlan(housed=((CHAT, 1),)), {CHAT: 1})

    assert after.memory(CHAT).places is None


@pytest.mark.parametrize(
    ("cluster", "elsewhere"),
    [
        pytest.param(ClusterPlan(held="the nodes are unknown", housed=((CHAT, 1),)), {}, id="unknown-cluster"),
        pytest.param(ClusterPlan(housed=((CHAT, 1),)), {CHAT: 1}, id="places-that-are-not-known"),
        pytest.param(ClusterPlan(), {}, id="not-placed-by-the-policy"),
    ],
)
def test_what_is_not_known_bounds_nothing(cluster: ClusterPlan, elsewhere: dict[object, int]) -> None:
    plan, state = planned(5, 1)

    assert housed(plan, state, PlannerState(), cluster, elsewhere) == (plan, state)  # type: ignore[arg-type]
