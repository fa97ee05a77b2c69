"""Where replicas are put, in cases a person can follow."""

from dataclasses import replace

import pytest

from controller.domain.nodes import NodeState
from controller.domain.placement import Budget, ClusterPlan, ComingNodes, GroupTarget, Obstacle, PoolTarget
from controller.domain.pools import PoolStatus, Provisioning, TotalBounds, VerdictKind, ZoneBounds
from controller.domain.workers import Packing, ReplicaState, WorkerState
from controller.planner.placement import Effort, plan_cluster
from tests.cluster import (
    BY_NODE,
    BY_REPLICA,
    BY_WORKER,
    CHAT,
    CODE,
    H100,
    NOW,
    busy,
    cluster,
    group,
    node,
    pool,
    replica,
    stocked_out,
    wants,
    worker,
)

RESERVED = pool("reserved", provisioning=Provisioning.RESERVATION, priority=0, most=2, price_per_hour=0.0)
ON_DEMAND = pool("on-demand", priority=1, most=3)
SPOT = pool("spot", provisioning=Provisioning.SPOT, priority=2, most=9, price_per_hour=0.3)
LARGE = pool("large", gpus_per_node=8, price_per_hour=5.0)
FOURS = group("fours", gpus_per_worker=4)


def new_nodes(plan: ClusterPlan) -> dict[str, int]:
    return {target.pool: target.new for target in plan.pools if target.new}


def target_of(plan: ClusterPlan, name: str) -> PoolTarget:
    return next(target for target in plan.pools if target.pool == name)


def workers_of(plan: ClusterPlan, name: str = "l4") -> GroupTarget:
    return next(target for target in plan.groups if target.group == name)


@pytest.mark.parametrize(
    ("wanted", "pools", "expected"),
    [
        pytest.param(2, [SPOT, ON_DEMAND, RESERVED], {"reserved": 2}, id="the-first-pool-first"),
        pytest.param(4, [SPOT, ON_DEMAND, RESERVED], {"reserved": 2, "on-demand": 2}, id="then-the-next"),
        pytest.param(7, [SPOT, ON_DEMAND, RESERVED], {"reserved": 2, "on-demand": 3, "spot": 2}, id="then-the-last"),
        pytest.param(2, [replace(SPOT, priority=1), ON_DEMAND], {"spot": 2}, id="among-equals-the-cheaper"),
        pytest.param(
            1, [ON_DEMAND, pool("big", gpus_per_node=4, price_per_hour=3.0)], {"on-demand": 1}, id="small-for-one"
        ),
        pytest.param(4, [ON_DEMAND, pool("big", gpus_per_node=4, price_per_hour=3.0)], {"big": 1}, id="large-for-four"),
        pytest.param(
            5,
            [ON_DEMAND, pool("big", gpus_per_node=4, price_per_hour=3.0)],
            {"big": 1, "on-demand": 1},
            id="both-for-five",
        ),
        pytest.param(2, [replace(RESERVED, status=PoolStatus.ERROR), SPOT], {"spot": 2}, id="not-from-a-broken-pool"),
        pytest.param(
            3,
            [replace(RESERVED, bounds=ZoneBounds(0, 1)), SPOT],
            {"reserved": 2, "spot": 1},
            id="bounds-per-zone-hold-in-each-zone",
        ),
    ],
)
def test_which_pools_are_drawn_on(wanted: int, pools: list, expected: dict[str, int]) -> None:
    plan = plan_cluster(cluster(wants([(BY_NODE, wanted)]), pools=pools), now=NOW)

    assert new_nodes(plan) == expected


def test_a_pool_that_is_too_slow_is_passed_over_for_what_is_due() -> None:
    given = cluster(wants([(BY_NODE, 1)]), pools=[RESERVED, SPOT], node_s={"reserved": 900.0})

    assert new_nodes(plan_cluster(given, now=NOW)) == {"spot": 1}


def test_where_no_pool_is_in_time_their_order_holds() -> None:
    plan = plan_cluster(cluster(wants(1), pools=[RESERVED, SPOT], node_s={"reserved": 900.0}), now=NOW)

    assert new_nodes(plan) == {"reserved": 1}
    assert plan.late == ((CHAT, 1),)


def test_a_stock_out_leads_to_the_next_pool_in_the_same_plan() -> None:
    given = cluster(wants([(BY_NODE, 2)]), pools=[RESERVED, ON_DEMAND], verdicts=(stocked_out("reserved"),))

    plan = plan_cluster(given, now=NOW)

    assert new_nodes(plan) == {"on-demand": 2}
    assert plan.binding == ("reserved: stocked out (ZONE_RESOURCE_POOL_EXHAUSTED), not asked again for 300 s",)
    assert new_nodes(plan_cluster(given, now=NOW + 300)) == {"reserved": 2}


def test_a_stock_out_in_one_zone_leaves_the_others() -> None:
    per_zone = replace(RESERVED, bounds=ZoneBounds(0, 2))
    given = cluster(wants([(BY_NODE, 3)]), pools=[per_zone, SPOT], verdicts=(stocked_out("reserved", zone="a"),))

    assert new_nodes(plan_cluster(given, now=NOW)) == {"reserved": 2, "spot": 1}


def test_what_is_wanted_later_is_started_where_a_node_is_kept_for_it() -> None:
    """One replica is wanted by a replica's lead, two by a worker's, four by a node's; three nodes are ready."""
    given = cluster(wants([(BY_REPLICA, 1), (BY_WORKER, 2), (BY_NODE, 4)]), nodes=[busy("n1"), node("n2"), node("n3")])

    plan = plan_cluster(given, now=NOW)

    assert new_nodes(plan) == {"l4": 1}
    assert (workers_of(plan).min_workers, workers_of(plan).max_workers) == (3, 3)
    assert dict(plan.housed) == {CHAT: 3}
    assert target_of(plan, "l4").vacant == 1
    assert not plan.late


def test_ray_may_add_no_worker_of_its_own_while_workers_are_started_and_may_once_they_are_there() -> None:
    """What Ray decided to add before it saw the new least, it adds to that."""
    asked = wants([(BY_REPLICA, 3), (BY_NODE, 4)])
    started = [
        node(name, None, worker(f"w-{name}", state=WorkerState.STARTING, since=NOW - 5)) for name in ("n2", "n3")
    ]

    starting = plan_cluster(cluster(asked, nodes=[busy("n1"), node("n2"), node("n3")]), now=NOW)
    there = plan_cluster(cluster(asked, nodes=[busy("n1"), *started]), now=NOW)

    assert (workers_of(starting).min_workers, workers_of(starting).max_workers) == (3, 3)
    assert (workers_of(there).min_workers, workers_of(there).max_workers) == (3, 4)


def test_four_gpus_on_one_node_are_not_four_free_gpus() -> None:
    """Eight GPUs are free, never four on one node: a strictly packed replica needs a new one."""
    halves = pool("halves", gpus_per_node=4, most=5, price_per_hour=3.0)
    twos = group("twos", gpus_per_worker=2)
    nodes = [node(f"n{i}", halves, worker(f"w{i}", replica(f"r{i}", CODE, 2), of=twos)) for i in range(4)]
    given = cluster(wants(1, gpus=4), pools=[halves], groups=[twos, FOURS], nodes=nodes)

    plan = plan_cluster(given, now=NOW)
    full = plan_cluster(replace(given, pools=(replace(halves, bounds=TotalBounds(0, 4)),)), now=NOW)

    assert new_nodes(plan) == {"halves": 1}
    (unplaced,) = full.unplaced
    assert unplaced.obstacle is Obstacle.POOL_AT_MAX
    assert unplaced.detail == (
        "halves: at most 4 nodes, 4 there and 0 coming; 8 GPUs are free, but at most 2 together where 4 are needed"
    )


def test_a_replica_that_may_span_workers_takes_what_is_free() -> None:
    halves = pool("halves", gpus_per_node=4, most=4, price_per_hour=3.0)
    twos = group("twos", gpus_per_worker=2)
    nodes = [node(f"n{i}", halves, worker(f"w{i}", replica(f"r{i}", CODE, 2), of=twos)) for i in range(4)]
    given = cluster(wants(2, gpus=4, packing=Packing.PACK), pools=[halves], groups=[twos], nodes=nodes)

    plan = plan_cluster(given, now=NOW)

    assert not plan.unplaced
    assert not new_nodes(plan)
    assert workers_of(plan, "twos").min_workers == 8


def test_two_deployments_want_the_last_node() -> None:
    last = [pool(most=1)]
    equal = plan_cluster(cluster(wants(1, CHAT), wants(1, CODE), pools=last), now=NOW)
    weighty = plan_cluster(cluster(wants(1, CHAT), wants(1, CODE, weight=2), pools=last), now=NOW)

    assert len(equal.unplaced) == 1
    assert [(one.id, one.replicas) for one in weighty.unplaced] == [(CHAT, 1)]


def test_what_is_due_first_gets_the_last_node() -> None:
    plan = plan_cluster(cluster(wants([(BY_NODE, 1)], CHAT), wants(1, CODE), pools=[pool(most=1)]), now=NOW)

    assert [one.id for one in plan.unplaced] == [CHAT]


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        pytest.param({"pools": []}, Obstacle.NO_POOL, id="no-pool"),
        pytest.param({"groups": [group(accelerator=H100)]}, Obstacle.NO_WORKER_GROUP, id="no-group"),
        pytest.param({"pools": [LARGE], "groups": [group()]}, Obstacle.TOO_LARGE, id="no-worker-is-large-enough"),
        pytest.param({"verdicts": (stocked_out("large"),)}, Obstacle.STOCKED_OUT, id="stocked-out"),
        pytest.param(
            {"verdicts": (replace(stocked_out("large"), kind=VerdictKind.QUOTA),)}, Obstacle.QUOTA, id="quota"
        ),
        pytest.param({"pools": [replace(LARGE, bounds=TotalBounds(0, 0))]}, Obstacle.POOL_AT_MAX, id="pool-at-max"),
        pytest.param({"pools": [replace(LARGE, status=PoolStatus.STOPPING)]}, Obstacle.POOL_STATUS, id="stopping"),
        pytest.param({"groups": [replace(FOURS, max_workers=0)]}, Obstacle.GROUP_AT_MAX, id="group-at-max"),
        pytest.param({"budget": Budget(cost_per_hour=4.99)}, Obstacle.BUDGET, id="cost"),
        pytest.param({"budget": Budget(gpus=7)}, Obstacle.BUDGET, id="gpus"),
    ],
)
def test_why_a_replica_has_no_place(changes: dict, obstacle: Obstacle) -> None:
    given = {"pools": [LARGE], "groups": [FOURS], **changes}

    (unplaced,) = plan_cluster(cluster(wants(1, gpus=4), **given), now=NOW).unplaced

    assert (unplaced.id, unplaced.replicas, unplaced.obstacle) == (CHAT, 1, obstacle)
    assert unplaced.detail


def test_nodes_on_their_way_are_counted_once() -> None:
    coming = (ComingNodes(pool="l4", nodes=2, expected_at=NOW + 100),)
    starting = node("n1", state=NodeState.STARTING, since=NOW - 50)

    plan = plan_cluster(cluster(wants([(BY_NODE, 4)]), nodes=[starting], coming=coming), now=NOW)

    assert (target_of(plan, "l4").nodes, target_of(plan, "l4").new) == (4, 1)


@pytest.mark.parametrize("age_s", [140, 250])
def test_a_node_or_worker_that_is_late_is_not_replaced_at_once(age_s: float) -> None:
    """It is about to be there, and another in its place would begin from the start."""
    late_node = node("n1", state=NodeState.STARTING, since=NOW - age_s)
    late_worker = node("n1", None, worker("w1", state=WorkerState.STARTING, since=NOW - age_s / 3))

    for late in (late_node, late_worker):
        plan = plan_cluster(cluster(wants([(BY_NODE, 1)]), nodes=[late]), now=NOW)

        assert (target_of(plan, "l4").nodes, target_of(plan, "l4").new) == (1, 0)


def test_a_worker_that_may_never_be_ready_is_not_counted_on() -> None:
    stuck = node("n1", None, worker("w1", state=WorkerState.STARTING, since=NOW - 1000))

    plan = plan_cluster(cluster(wants([(BY_NODE, 1)]), nodes=[stuck]), now=NOW)

    assert target_of(plan, "l4").new == 1


def test_a_node_that_is_long_overdue_is_not_counted_on_but_counted() -> None:
    stuck = node("n1", state=NodeState.STARTING, since=NOW - 1000)

    plan = plan_cluster(cluster(wants([(BY_NODE, 1)]), nodes=[stuck], pools=[pool(most=2)]), now=NOW)

    assert (target_of(plan, "l4").nodes, target_of(plan, "l4").new) == (2, 1)


def test_what_drains_is_replaced_before_it_is_gone() -> None:
    leaving = replace(busy("n1"), state=NodeState.DRAINING)

    plan = plan_cluster(cluster(wants(1), nodes=[leaving]), now=NOW)

    assert target_of(plan, "l4").new == 1
    assert target_of(plan, "l4").nodes == 2


def test_the_way_down_is_replica_then_worker_then_node() -> None:
    """Two replicas become one: the node stays while the replica drains, and goes once it is empty."""
    draining = node("n2", None, worker("w2", replica("r2", state=ReplicaState.DRAINING)))
    idle = node("n2", None, worker("w2"))

    while_draining = plan_cluster(cluster(wants(1), nodes=[busy("n1"), draining]), now=NOW)
    once_drained = plan_cluster(cluster(wants(1), nodes=[busy("n1"), idle]), now=NOW)

    assert (workers_of(while_draining).min_workers, target_of(while_draining, "l4").nodes) == (2, 2)
    assert workers_of(once_drained).min_workers == 1
    assert target_of(once_drained, "l4").releasable == ("n2",)


def test_what_is_kept_for_later_finds_the_room_of_a_replica_that_drains() -> None:
    """The last replica drains, and one is to be had again within a node's lead: no second node is ordered for it."""
    draining = node("n1", None, worker("w1", replica("r1", state=ReplicaState.DRAINING)))

    plan = plan_cluster(cluster(wants([(BY_NODE, 1)]), nodes=[draining]), now=NOW)

    assert (target_of(plan, "l4").nodes, target_of(plan, "l4").new) == (1, 0)
    assert not plan.unplaced


@pytest.mark.parametrize(
    ("pending", "vacant"), [pytest.param(0, 3, id="none"), pytest.param(2, 1, id="two"), pytest.param(9, 0, id="many")]
)
def test_nothing_is_kept_warm_for_workers_that_ask_for_nodes_themselves(pending: int, vacant: int) -> None:
    given = replace(cluster(wants([(BY_NODE, 4)]), nodes=[busy("n1")]), pending=(("l4", pending),))

    plan = plan_cluster(given, now=NOW)

    assert (target_of(plan, "l4").nodes, target_of(plan, "l4").vacant) == (4, vacant)


def test_workers_that_are_started_now_and_wait_for_the_scheduler_are_counted_once() -> None:
    nodes = [busy("n1"), node("n2"), node("n3", state=NodeState.STARTING, since=NOW - 30)]
    given = replace(cluster(wants([(BY_REPLICA, 2), (BY_NODE, 3)]), nodes=nodes), pending=(("l4", 1),))

    assert target_of(plan_cluster(given, now=NOW), "l4").vacant == 1


def test_the_least_of_pools_and_groups_is_kept_without_demand() -> None:
    given = cluster(pools=[pool(bounds=TotalBounds(2, 5))], groups=[group(min_workers=1)], nodes=[node("n1")])

    plan = plan_cluster(given, now=NOW)

    assert target_of(plan, "l4").nodes == 2
    assert target_of(plan, "l4").releasable == ()
    assert workers_of(plan).min_workers == 1


def test_a_worker_that_is_starting_is_used_for_what_it_will_be_in_time_for() -> None:
    starting = node("n1", None, worker("w1", state=WorkerState.STARTING, since=NOW - 30))

    plan = plan_cluster(cluster(wants([(BY_WORKER, 1)]), nodes=[starting]), now=NOW)

    assert not new_nodes(plan)
    assert (workers_of(plan).min_workers, workers_of(plan).max_workers) == (1, 1)


def test_nothing_is_planned_while_the_nodes_are_unknown() -> None:
    plan = plan_cluster(cluster(wants(3), nodes=None), now=NOW)

    assert plan == ClusterPlan(held="the nodes are unknown: pools and worker groups stay as they are")


def test_the_record_says_how_it_was_solved() -> None:
    """With no effort allowed there is a plan all the same, and it says that a better one may exist."""
    given = cluster(
        wants(3, CHAT, gpus=3),
        wants(2, CODE, gpus=2),
        pools=[LARGE, pool("half", gpus_per_node=4, price_per_hour=2.6)],
        groups=[group("eights", gpus_per_worker=8), FOURS],
    )

    solved = plan_cluster(given, now=NOW).nodes_solved
    hurried = plan_cluster(given, now=NOW, effort=Effort(nodes=0, seconds=1e-6)).nodes_solved

    assert solved is not None
    assert hurried is not None
    assert solved.proven
    assert "the best of all" in solved.detail
    assert not hurried.proven
    assert hurried.gap > 0


def test_ties_are_broken_the_same_way_every_time() -> None:
    """What is there is kept rather than what is coming; it was not, and every plan called off what the last kept."""
    one_there = [node("n1", state=NodeState.STARTING, since=NOW - 60)]
    of_three = (ComingNodes(pool="l4", nodes=3, expected_at=NOW + 140),)

    plan = plan_cluster(cluster(wants(2), nodes=one_there, coming=of_three), now=NOW)

    assert target_of(plan, "l4").releasable == ()
    assert target_of(plan, "l4").coming == 1
