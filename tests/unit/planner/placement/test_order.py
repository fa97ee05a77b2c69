"""Nodes before workers before replicas on the way up, and the reverse on the way down."""

from typing import Any

from controller.domain.cluster import LayerStep
from controller.domain.layer import Layer
from controller.domain.placement import ClusterPlan, GroupTarget, PoolTarget
from controller.domain.plan import Action, Capacity, CapacitySource, Decision, Reason
from controller.planner.placement.order import in_layer_order
from tests.cluster import CHAT, CODE, lead

UP = ClusterPlan(
    pools=(PoolTarget(pool="l4", nodes=3, present=2, in_use=2, coming=0, new=1),),
    groups=(GroupTarget(group="l4", min_workers=3, max_workers=4, present=2, busy=2),),
)
DOWN = ClusterPlan(
    pools=(PoolTarget(pool="l4", nodes=1, present=2, in_use=1, coming=0, new=0, releasable=("n2",)),),
    groups=(GroupTarget(group="l4", min_workers=1, max_workers=2, present=2, busy=1),),
)


def decision(current: int, desired: int, of: Any = CHAT) -> Decision:
    action = Action.NONE if current == desired else Action.SCALE_UP if desired > current else Action.SCALE_DOWN
    return Decision(
        id=of,
        current=current,
        desired=desired,
        action=action,
        binding=Reason.DEMAND,
        steps=(),
        lead=lead(60),
        capacity=Capacity(per_replica={}, source=CapacitySource.POLICY),
    )


def layers(steps: tuple[LayerStep, ...]) -> list[tuple[Layer, int, int]]:
    return [(step.layer, step.found, step.wanted) for step in steps]


def test_up_goes_from_nodes_to_replicas() -> None:
    steps = in_layer_order(UP, [decision(2, 3)], bounds={"l4": (2, 2)})

    assert layers(steps) == [(Layer.NODE, 2, 3), (Layer.WORKER, 2, 3), (Layer.REPLICA, 2, 3)]
    assert steps[1].most == 4


def test_down_goes_from_replicas_to_nodes() -> None:
    steps = in_layer_order(DOWN, [decision(2, 1)], bounds={"l4": (2, 2)})

    assert layers(steps) == [(Layer.REPLICA, 2, 1), (Layer.WORKER, 2, 1), (Layer.NODE, 2, 1)]


def test_what_one_deployment_needs_comes_before_what_another_gives_up() -> None:
    steps = in_layer_order(UP, [decision(4, 1, CODE), decision(2, 3)], bounds={"l4": (2, 2)})

    assert [step.up for step in steps] == [True, True, True, False]


def test_room_for_more_workers_is_made_on_the_way_up() -> None:
    (first, _) = in_layer_order(ClusterPlan(groups=UP.groups), [decision(4, 3)], bounds={"l4": (3, 3)})

    assert (first.layer, first.up) == (Layer.WORKER, True)


def test_what_is_as_wanted_needs_no_step() -> None:
    settled = ClusterPlan(
        pools=(PoolTarget(pool="l4", nodes=2, present=2, in_use=2, coming=0, new=0),), groups=UP.groups
    )

    assert in_layer_order(settled, [decision(2, 2)], bounds={"l4": (3, 4)}) == ()


def test_a_group_that_is_not_there_is_not_set() -> None:
    assert in_layer_order(ClusterPlan(groups=UP.groups), [], bounds={}) == ()


def test_a_held_plan_sets_nothing_but_replicas() -> None:
    steps = in_layer_order(ClusterPlan(held="unknown"), [decision(2, 3)], bounds={"l4": (2, 2)})

    assert layers(steps) == [(Layer.REPLICA, 2, 3)]
