"""What each layer is to carry: what is decided now, what is foreseen to last, given up late and never blindly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis as h
import hypothesis.strategies as st
import pytest

from controller.domain.forecast import Forecast, LayerLead, LeadSource
from controller.domain.layer import Layer
from controller.domain.override import Override, OverrideAction
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory
from controller.planner.early import startable
from controller.planner.needs import LASTING_S, Ahead, demand_of, layer_needs, weights
from controller.policy.model import DeploymentPolicy
from tests.cluster import CHAT as PLACED
from tests.cluster import CODE, wants
from tests.planning import CHAT as PLANNED
from tests.planning import LEAD, NOW, decided, given, policy, seen

RULES = policy(limits={"min_replicas": 1, "max_replicas": 6}, stabilisation={"downscale_delay_s": 60})


PROMPT = policy(limits={"min_replicas": 1, "max_replicas": 6}, stabilisation={"downscale_delay_s": 0})
FREEZE = Override(
    id="ov-1",
    action=OverrideAction.FREEZE,
    deployment=PLANNED,
    began_at=NOW - 10,
    until=NOW + 50,
    owner="alice",
    reason="launch",
)

RAISED = replace(FREEZE, action=OverrideAction.RAISE_FLOOR, replicas=1)


def forecast(load: float) -> Forecast:
    return Forecast(
        signal=Signal.ONGOING_REQUESTS,
        at=NOW,
        horizon_s=600,
        quantiles=((0.5, load), (0.9, load)),
        method="seasonal",
        history_s=1e6,
    )


def ahead(far: float | None) -> list[Ahead]:
    told = () if far is None else (forecast(far),)
    layers = ((Layer.REPLICA, 60.0), (Layer.WORKER, 100.0), (Layer.NODE, 400.0))
    return [
        Ahead(layer=layer, due_s=due, forecasts=told if layer is Layer.NODE else (), forecast_unavailable=None)
        for layer, due in layers
    ]


def needed(
    load: float,
    far: float | None,
    memory: DeploymentMemory | None = None,
    *,
    at: float = NOW,
    rules: DeploymentPolicy | None = None,
) -> tuple[list[int], DeploymentMemory]:
    one = given(seen(load, target=1), rules or RULES)
    decision, after = decided(one)
    needs, after = layer_needs(one, decision, ahead(far), memory or after, now=at)
    return [need.replicas for need in needs], after


def lasting(load: float, far: float | None) -> tuple[list[int], DeploymentMemory]:
    """The needs when the same has been foreseen for long enough."""
    _, memory = needed(load, far, at=NOW - LASTING_S)
    return needed(load, far, memory)


def per_replica() -> float:
    return RULES.capacity.target_ongoing_requests


@pytest.mark.parametrize(
    ("load", "far", "expected"),
    [
        pytest.param(1.0, None, [1, 1, 1], id="quiet"),
        pytest.param(1.0, 3.0, [1, 1, 3], id="only-nodes-see-that-far"),
        pytest.param(3.0, 1.0, [3, 3, 3], id="never-less-than-the-layer-above"),
        pytest.param(1.0, 99.0, [1, 1, 6], id="within-the-limits"),
    ],
)
def test_each_layer_is_sized_for_its_own_horizon(load: float, far: float | None, expected: list[int]) -> None:
    assert lasting(load * per_replica(), None if far is None else far * per_replica())[0] == expected


@pytest.mark.parametrize(
    ("foreseen", "expected"),
    [
        pytest.param({0: 3, 50: 3}, 1, id="not-for-long-enough"),
        pytest.param({0: 3, 30: 3, 60: 3}, 3, id="for-long-enough"),
        pytest.param({0: 3, 60: 1}, 1, id="not-any-more"),
        pytest.param({0: 3, 30: 1, 60: 3}, 1, id="with-a-break"),
        pytest.param({0: 2, 30: 4, 60: 3}, 2, id="the-part-that-lasted"),
        pytest.param({0: 4, 30: 2, 60: 3}, 2, id="the-least-of-it"),
        pytest.param({0: 5, 60: 5, 70: 3}, 5, id="held-when-it-had-lasted"),
    ],
)
def test_nodes_are_ordered_for_what_is_foreseen_without_a_break(foreseen: dict[int, int], expected: int) -> None:
    memory: DeploymentMemory | None = None
    found: list[int] = []
    for at, load in foreseen.items():
        found, memory = needed(1.0, load * per_replica(), memory, at=NOW + at)

    assert found[-1] == expected


@h.given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 6)), min_size=1, max_size=30))
def test_a_rise_counts_as_far_as_it_lasted(ticks: list[tuple[int, int]]) -> None:
    """What is ordered is the least that was foreseen since some time that is long enough ago."""
    memory: DeploymentMemory | None = None
    seen_so_far: list[tuple[float, int]] = []
    at = NOW
    for wait, load in ticks:
        at += wait
        seen_so_far.append((at, load))
        found, memory = needed(1.0, load * per_replica(), memory, at=at, rules=PROMPT)

        least = [
            min(replicas for _, replicas in seen_so_far[place:])
            for place, (since, _) in enumerate(seen_so_far)
            if since <= at - LASTING_S
        ]
        assert found[-1] == max(least, default=1)


def test_while_demand_is_unknown_what_was_foreseen_goes_on_to_last() -> None:
    _, memory = needed(1.0, 3 * per_replica())
    blind = given(seen(Unknown("stale"), target=1), RULES)
    _, memory = layer_needs(blind, decided(blind)[0], ahead(None), memory, now=NOW + 30)

    after, _ = needed(1.0, 3 * per_replica(), memory, at=NOW + LASTING_S)

    assert after == [1, 1, 3]


def test_what_measured_demand_needs_and_what_is_announced_waits_for_nothing() -> None:
    event = {"name": "batch", "start": "1970-01-01T02:51:40Z", "duration_s": 3600, "min_replicas": 4}
    rules = policy(limits={"min_replicas": 1, "max_replicas": 6}, events=[event])
    one = given(seen(1.0, target=1), rules)

    soon, _ = layer_needs(one, decided(one)[0], ahead(None), DeploymentMemory(), now=NOW)
    measured, _ = needed(3 * per_replica(), None)

    assert [need.replicas for need in soon] == [1, 1, 4]
    assert measured == [3, 3, 3]


NODE_LEAD = replace(
    LEAD,
    layers=(
        LayerLead(layer=Layer.NODE, p50_s=300, p90_s=300, p95_s=300, source=LeadSource.DEFAULT),
        LayerLead(layer=Layer.REPLICA, p50_s=30, p90_s=40, p95_s=45, source=LeadSource.MEASURED),
    ),
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [2, 2, 2], id="no-node-for-a-single-reading"),
        pytest.param({"brief": False}, [5, 5, 5], id="known-for-long-enough"),
        pytest.param({"lead": LEAD}, [5, 5, 5], id="the-next-replica-has-a-node"),
        pytest.param({"policy": policy(limits={"min_replicas": 3})}, [3, 3, 3], id="what-the-policy-asks-for"),
        pytest.param({"overrides": (RAISED,)}, [5, 5, 5], id="what-somebody-asks-for"),
    ],
)
def test_no_node_is_ordered_for_what_is_known_too_briefly(changes: dict[str, Any], expected: list[int]) -> None:
    one = replace(given(seen(5 * per_replica(), target=2), policy()), brief=True, lead=NODE_LEAD)
    one = replace(one, **changes)
    decision, memory = decided(one)

    needs, _ = layer_needs(one, decision, ahead(None), memory, now=NOW)

    assert decision.desired == 5
    assert [need.replicas for need in needs] == expected


@pytest.mark.parametrize(
    ("target", "rules", "overrides", "expected"),
    [
        pytest.param(1, {}, (), 4, id="as-many-as-nodes-are-kept-for"),
        pytest.param(1, {"limits": {"max_replicas": 3}}, (), 3, id="within-the-limits"),
        pytest.param(1, {"limits": {"max_replicas": 6, "max_step_up": 2}}, (), 3, id="in-steps"),
        pytest.param(1, {"paused": True}, (), 1, id="not-while-paused"),
        pytest.param(None, {}, (), 0, id="unknown-target"),
        pytest.param(1, {}, (FREEZE,), 1, id="not-while-somebody-asks-for-something-else"),
    ],
)
def test_how_many_may_run_where_nodes_are_kept(
    target: int | None, rules: dict[str, Any], overrides: tuple[Override, ...], expected: int
) -> None:
    one = replace(
        given(seen(1.0, target=target), policy(**({"limits": {"max_replicas": 6}} | rules))), overrides=overrides
    )
    decision, _ = decided(one)
    memory = DeploymentMemory(ahead=((Layer.NODE, ((NOW - 30, 4), (NOW, 2))),))

    assert startable(one, decision, memory, now=NOW) == expected


def test_nobody_is_woken_by_a_node() -> None:
    one = given(seen(0.0, target=0), policy(limits={"min_replicas": 0}))
    decision = replace(decided(one)[0], current=0, desired=0)
    memory = DeploymentMemory(ahead=((Layer.NODE, ((NOW, 1),)),))

    assert startable(one, decision, memory, now=NOW) == 0


def test_what_is_only_decided_starts_nothing_or_it_would_hold_itself() -> None:
    one = given(seen(1.0, target=4), RULES)
    decision = replace(decided(one)[0], desired=4)

    needs, memory = layer_needs(one, decision, ahead(None), DeploymentMemory(), now=NOW)

    assert [need.replicas for need in needs] == [4, 4, 4]
    assert startable(one, replace(decision, desired=1), memory, now=NOW) == 1


def test_what_is_not_foreseen_any_more_is_given_up_after_the_delay() -> None:
    _, memory = lasting(1.0, 3 * per_replica())

    within, memory = needed(1.0, None, memory, at=NOW + 50)
    after, _ = needed(1.0, None, memory, at=NOW + 70)

    assert within == [1, 1, 3]
    assert after == [1, 1, 1]


def test_nothing_ages_while_demand_is_unknown() -> None:
    _, memory = lasting(1.0, 3 * per_replica())
    blind = given(seen(Unknown("stale"), target=1), RULES)
    decision, _ = decided(blind)

    needs, memory = layer_needs(blind, decision, ahead(None), memory, now=NOW + 600)
    after, _ = needed(1.0, None, memory, at=NOW + 630)

    assert [need.replicas for need in needs] == [1, 1, 3]
    assert after == [1, 1, 3]


def test_an_unknown_target_holds_what_was_needed_and_a_deployment_that_is_gone_needs_nothing() -> None:
    _, memory = needed(3 * per_replica(), None)
    unknown = given(seen(1.0, target=None), RULES)
    gone = given(replace(seen(1.0, target=None), status="NOT_DEPLOYED"), RULES)

    held, _ = layer_needs(unknown, decided(unknown)[0], ahead(None), memory, now=NOW + 10)
    none, _ = layer_needs(gone, decided(gone)[0], ahead(None), memory, now=NOW + 10)

    assert [need.replicas for need in held] == [3, 3, 3]
    assert [need.replicas for need in none] == [0, 0, 0]


def test_replicas_elsewhere_ask_for_no_place() -> None:
    one = given(seen(3 * per_replica(), target=1), RULES)
    needs, _ = layer_needs(one, decided(one)[0], ahead(None), DeploymentMemory(), now=NOW)

    demand = demand_of(wants(1).shape, needs, replica_s=60.0, elsewhere=2, weight=1)

    assert [wanted.replicas for wanted in demand.wanted] == [1, 1, 1]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        pytest.param({PLACED: (0, 1.0), CODE: (0, 1.0)}, [1, 1], id="equals"),
        pytest.param({PLACED: (0, 2.0), CODE: (0, 1.0)}, [2, 1], id="weight"),
        pytest.param({PLACED: (5, 1.0), CODE: (0, 1.0)}, [100, 1], id="priority-before-weight"),
        pytest.param({}, [], id="nobody"),
    ],
)
def test_priority_and_weight_count_in_a_shortage(terms: dict[object, tuple[int, float]], expected: list[int]) -> None:
    assert list(weights(terms).values()) == expected  # type: ignore[arg-type]
