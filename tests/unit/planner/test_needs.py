"""What each layer is to carry: what is decided now, what is foreseen for later, given up late and never blindly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.forecast import Forecast
from controller.domain.layer import Layer
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory
from controller.planner.needs import Ahead, demand_of, layer_needs, weights
from tests.cluster import CHAT as PLACED
from tests.cluster import CODE, wants
from tests.planning import NOW, decided, given, policy, seen

RULES = policy(limits={"min_replicas": 1, "max_replicas": 6}, stabilisation={"downscale_delay_s": 60})


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
    load: float, far: float | None, memory: DeploymentMemory | None = None, *, at: float = NOW
) -> tuple[list[int], DeploymentMemory]:
    one = given(seen(load, target=1), RULES)
    decision, after = decided(one)
    needs, after = layer_needs(one, decision, ahead(far), memory or after, now=at)
    return [need.replicas for need in needs], after


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
    assert needed(load * per_replica(), None if far is None else far * per_replica())[0] == expected


def test_what_is_not_foreseen_any_more_is_given_up_after_the_delay() -> None:
    _, memory = needed(1.0, 3 * per_replica())

    within, memory = needed(1.0, None, memory, at=NOW + 50)
    after, _ = needed(1.0, None, memory, at=NOW + 70)

    assert within == [1, 1, 3]
    assert after == [1, 1, 1]


def test_nothing_ages_while_demand_is_unknown() -> None:
    _, memory = needed(1.0, 3 * per_replica())
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
