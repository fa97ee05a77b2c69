"""What the next replica waits for: nothing, a worker, or a node first."""

from __future__ import annotations

import pytest

from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.workers import ReplicaShape, WorkerState
from controller.planner.supply.waiting import chain
from tests.cluster import H100, L4, NODE_S, NOW, WORKER_S, busy, cluster, node, pool, stocked_out, worker

ONE = ReplicaShape(accelerator=L4)
BOTH = (Layer.WORKER, Layer.NODE)


@pytest.mark.parametrize(
    ("nodes", "asked", "missing"),
    [
        pytest.param([], 0, BOTH, id="nothing-there"),
        pytest.param([busy("n1")], 0, BOTH, id="all-taken"),
        pytest.param([node("n1", None, worker("w1"))], 0, (), id="a-free-worker"),
        pytest.param([node("n1", None, worker("w1"))], 1, BOTH, id="which-another-one-waits-for"),
        pytest.param([node("n1")], 0, (Layer.WORKER,), id="a-bare-node"),
        pytest.param([node("n1", None, worker("w1", state=WorkerState.STARTING))], 0, (Layer.WORKER,), id="it-starts"),
        pytest.param([node("n1", state=NodeState.STARTING)], 0, BOTH, id="a-node-that-starts"),
        pytest.param([node("n1", None, worker("w1"), state=NodeState.DRAINING)], 0, BOTH, id="a-node-that-drains"),
    ],
)
def test_what_is_missing(nodes: list[Node], asked: int, missing: tuple[Layer, ...]) -> None:
    found = chain(ONE, cluster(nodes=nodes), asked=asked, now=NOW)

    assert found is not None
    assert found.missing == missing
    assert [lead.p90_s for lead in found.below] == [WORKER_S, NODE_S][: len(missing)]


def test_the_next_pool_is_the_first_that_gives_nodes() -> None:
    pools = [pool("first", priority=0), pool("second", priority=1)]

    open_one = chain(ONE, cluster(pools=pools), asked=0, now=NOW)
    closed = chain(ONE, cluster(pools=pools, verdicts=(stocked_out("first"),)), asked=0, now=NOW)

    assert open_one is not None
    assert closed is not None
    assert (open_one.pool, closed.pool) == ("first", "second")


def test_unknown_nodes_add_no_lead_and_no_pool_has_none() -> None:
    unknown = chain(ONE, cluster(nodes=None), asked=0, now=NOW)

    assert unknown is not None
    assert unknown.below == ()
    assert chain(ReplicaShape(accelerator=H100), cluster(), asked=0, now=NOW) is None
    assert chain(ReplicaShape(accelerator=L4, tensor_parallel=2), cluster(), asked=0, now=NOW) is None
