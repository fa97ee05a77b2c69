from __future__ import annotations

from dataclasses import replace

import pytest

from controller.actuators.warm_nodes import warm_nodes
from controller.domain.cluster import ClusterFound, GroupFound, PendingWorker
from controller.domain.nodes import Node, NodeState
from controller.domain.workers import Worker, WorkerState
from tests.cluster import group, pool

L4 = pool(gpus_per_node=2, priority=1, most=4)
SPOT = pool("spot", gpus_per_node=2, priority=2, most=4)


def node(name: str, workers: int = 0, *, foreign: int = 0, state: NodeState = NodeState.READY, of: str = "l4") -> Node:
    held = tuple(
        Worker(name=f"{name}-w{index}", group="l4", gpus=1, state=WorkerState.READY, since=0.0)
        for index in range(workers)
    )
    return Node(name=name, pool=of, zone="a", gpus=2, state=state, since=0.0, workers=held, foreign_gpus=foreign)


def found(*nodes: Node, pending: int = 0, least: int = 0) -> ClusterFound:
    waiting = tuple(PendingWorker(name=f"p{index}", created_at=0.0) for index in range(pending))
    live = GroupFound(name="l4", min_workers=least, max_workers=20, pending=waiting)
    return ClusterFound(at=0.0, nodes=nodes, groups=(live,))


@pytest.mark.parametrize(
    ("wanted", "cluster", "expected"),
    [
        pytest.param(3, found(), 3, id="nothing-there"),
        pytest.param(3, found(node("a", 1), node("b", foreign=1), node("c")), 1, id="held-by-workers-and-others"),
        pytest.param(1, found(node("a", 1), node("b", 2)), 0, id="fewer-wanted-than-held"),
        pytest.param(2, found(node("a", 1, state=NodeState.DRAINING)), 2, id="draining-is-replaced"),
        pytest.param(3, found(node("a", 1), pending=1), 2, id="waiting-worker-fits-beside-another"),
        pytest.param(3, found(node("a", 2), pending=1), 1, id="waiting-worker-takes-a-node"),
        pytest.param(3, found(pending=3), 1, id="two-waiting-workers-share-a-node"),
        pytest.param(3, found(node("a", 1), least=3), 1, id="workers-to-come-count-as-waiting"),
        pytest.param(3, found(node("s", of="spot"), pending=2), 3, id="waiting-workers-go-to-an-empty-node-first"),
        pytest.param(4, found(pending=20), 0, id="more-wait-than-fit"),
    ],
)
def test_only_what_nothing_else_asks_for_is_kept_warm(wanted: int, cluster: ClusterFound, expected: int) -> None:
    assert warm_nodes(wanted, L4, cluster, pools=[SPOT, L4], groups=[group()]) == expected


def test_workers_that_overflow_the_first_pool_are_counted_in_the_next() -> None:
    overflowing = found(pending=10)

    assert warm_nodes(4, SPOT, overflowing, pools=[SPOT, L4], groups=[group()]) == 3
    assert warm_nodes(4, SPOT, overflowing, pools=[SPOT, L4], groups=[group(node_pools=("l4",))]) == 4


@pytest.mark.parametrize("missing", ["nodes", "groups"])
def test_what_is_not_known_is_not_taken_for_nothing(missing: str) -> None:
    unknown = replace(found(), **{missing: None})

    assert warm_nodes(3, L4, unknown, pools=[L4], groups=[group()]) is None
