"""Which lever moves a pool, and how far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actuators.pool_levers import SetBounds, SetSize, lever_for, would_remove_used
from controller.domain.cluster import LayerStep, PoolFound
from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.pools import (
    Accelerator,
    NodePool,
    PoolBounds,
    PoolStatus,
    Provisioning,
    TotalBounds,
    ZoneBounds,
)
from controller.domain.workers import Worker, WorkerState
from controller.policy.cluster import FloorOf

THREE = ("a", "b", "c")


def pool_of(bounds: PoolBounds, zones: tuple[str, ...] = THREE) -> NodePool:
    return NodePool(
        name="l4",
        accelerator=Accelerator("nvidia-l4"),
        gpus_per_node=1,
        zones=zones,
        provisioning=Provisioning.ON_DEMAND,
        priority=1,
        bounds=bounds,
    )


def found_of(bounds: PoolBounds | None, zones: tuple[str, ...] = THREE) -> PoolFound:
    return PoolFound(name="l4", status=PoolStatus.RUNNING, autoscaled=bounds is not None, zones=zones, bounds=bounds)


def step_to(wanted: int, found: int = 0) -> LayerStep:
    return LayerStep(layer=Layer.NODE, name="l4", found=found, wanted=wanted, up=wanted > found, detail="")


def node(name: str, *, workers: int = 0, foreign: int = 0) -> Node:
    return Node(
        name=name,
        pool="l4",
        zone="a",
        gpus=4,
        state=NodeState.READY,
        since=0.0,
        foreign_gpus=foreign,
        workers=tuple(
            Worker(name=f"{name}-{place}", group="g", gpus=1, state=WorkerState.READY, since=0.0)
            for place in range(workers)
        ),
    )


@pytest.mark.parametrize(
    ("policy", "live", "floor", "wanted", "expected"),
    [
        (TotalBounds(1, 9), TotalBounds(0, 5), FloorOf.POLICY, 4, SetBounds(TotalBounds(1, 9))),
        (TotalBounds(1, 9), TotalBounds(0, 5), FloorOf.PLAN, 4, SetBounds(TotalBounds(4, 9))),
        (TotalBounds(1, 9), TotalBounds(0, 5), FloorOf.PLAN, 0, SetBounds(TotalBounds(1, 9))),
        (ZoneBounds(1, 3), ZoneBounds(0, 5), FloorOf.POLICY, 4, SetBounds(ZoneBounds(1, 3))),
        (ZoneBounds(0, 3), ZoneBounds(0, 5), FloorOf.PLAN, 7, SetBounds(ZoneBounds(2, 3), left=1)),
    ],
)
def test_bounds_of_an_autoscaled_pool(
    policy: PoolBounds, live: PoolBounds, floor: FloorOf, wanted: int, expected: SetBounds
) -> None:
    assert lever_for(step_to(wanted), pool_of(policy), found_of(live), floor) == expected


@pytest.mark.parametrize(
    ("policy", "live", "saying"),
    [
        (TotalBounds(0, 9), ZoneBounds(0, 3), "set bounds.scope of l4 to zone"),
        (ZoneBounds(0, 3), TotalBounds(0, 9), "set bounds.scope of l4 to total"),
        (TotalBounds(0, 3), TotalBounds(0, 9), "at most 3 nodes"),
    ],
)
def test_counts_by_zone_and_in_total_never_mix_and_the_policys_most_holds(
    policy: PoolBounds, live: PoolBounds, saying: str
) -> None:
    lever = lever_for(step_to(4), pool_of(policy), found_of(live), FloorOf.PLAN)

    assert isinstance(lever, str)
    assert saying in lever


@pytest.mark.parametrize(
    ("zones", "found", "wanted", "expected"),
    [
        (("a",), 1, 4, SetSize(4, 1)),
        (("a",), 4, 0, SetSize(0, 1)),
        (THREE, 0, 7, SetSize(2, 3)),
        (THREE, 6, 6, SetSize(2, 3)),
    ],
)
def test_size_of_a_pool_without_autoscaling(zones: tuple[str, ...], found: int, wanted: int, expected: SetSize) -> None:
    pool = pool_of(TotalBounds(0, 9), zones)

    assert lever_for(step_to(wanted, found), pool, found_of(None, zones), FloorOf.POLICY) == expected


def test_a_size_that_zones_cannot_have_is_not_rounded_up() -> None:
    lever = lever_for(step_to(1), pool_of(TotalBounds(0, 9)), found_of(None), FloorOf.POLICY)

    assert isinstance(lever, str)
    assert "cannot be had without 3" in lever


@given(wanted=st.integers(0, 50), zones=st.integers(1, 5), least=st.integers(0, 4))
def test_no_lever_asks_for_more_than_the_plan_or_the_policys_least(wanted: int, zones: int, least: int) -> None:
    names = tuple(f"z{place}" for place in range(zones))
    for bounds in (TotalBounds(least, 50), ZoneBounds(least, 50)):
        pool = pool_of(bounds, names)
        most = max(wanted, pool.min_nodes)
        lever = lever_for(step_to(wanted), pool, found_of(bounds, names), FloorOf.PLAN)
        assert isinstance(lever, SetBounds)
        floor = lever.bounds
        asked = floor.min_nodes if isinstance(floor, TotalBounds) else floor.min_nodes_per_zone * zones
        assert asked <= most
        assert asked + lever.left == most
        assert lever_for(step_to(wanted), pool, found_of(lever.bounds, names), FloorOf.PLAN) == lever


@pytest.mark.parametrize(
    ("nodes", "per_zone", "refused"),
    [
        ([node("n1"), node("n2")], 0, False),
        ([node("n1"), node("n2", workers=1)], 0, True),
        ([node("n1"), node("n2", foreign=1)], 1, True),
        ([node("n1", workers=1), node("n2", workers=1)], 2, False),
        (None, 1, True),
    ],
)
def test_a_pool_is_made_smaller_only_when_any_of_its_nodes_may_go(
    nodes: list[Node] | None, per_zone: int, *, refused: bool
) -> None:
    assert (would_remove_used(step_to(per_zone, 2), SetSize(per_zone, 1), nodes) is not None) == refused
