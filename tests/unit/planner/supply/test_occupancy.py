"""Serve's replicas are found on workers by address; what cannot be found is not taken for free."""

from __future__ import annotations

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.serve import ApplicationState, DeploymentState, Replica, ReplicaState, ServeState
from controller.domain.workers import Packing, ReplicaShape, WorkerState
from controller.domain.workers import ReplicaState as Held
from controller.planner.supply.occupancy import SOMEBODY, Occupancy, occupied
from tests.cluster import CHAT, CODE, L4, group, node, pool, worker

FOUR = pool(gpus_per_node=4)
GROUP = group(gpus_per_worker=4)
SHAPES = {CHAT: ReplicaShape(accelerator=L4, tensor_parallel=2)}


def served(*replicas: Replica, name: DeploymentId = CHAT, actor_gpus: float = 0.0) -> ServeState:
    deployment = DeploymentState(
        id=name,
        status="HEALTHY",
        message="",
        target_replicas=len(replicas),
        config_replicas=1,
        autoscaling_configured=False,
        max_ongoing_requests=10,
        replicas=replicas,
        actor_gpus=actor_gpus,
    )
    application = ApplicationState(
        name=name.application,
        status="RUNNING",
        route_prefix="/",
        external_scaler_enabled=True,
        last_deployed_at=0.0,
        deployments=(deployment,),
    )
    return ServeState(applications=(application,))


def replica(name: str, ip: str | None = "10.0.0.1", state: ReplicaState = ReplicaState.RUNNING) -> Replica:
    return Replica(replica_id=name, state=state, node_ip=ip)


def on_one(serve: ServeState, shapes: dict[DeploymentId, ReplicaShape] | None = None) -> Occupancy:
    nodes = [node("n1", FOUR, worker("w1", of=GROUP, address="10.0.0.1"), worker("w2", of=GROUP, address="10.0.0.2"))]
    return occupied(nodes, serve, SHAPES if shapes is None else shapes, {"l4": L4})


@pytest.mark.parametrize(
    ("one", "held"),
    [
        pytest.param(replica("a"), Held.RUNNING, id="running"),
        pytest.param(replica("a", state=ReplicaState.STARTING), Held.STARTING, id="starting"),
        pytest.param(replica("a", state=ReplicaState.STOPPING), Held.DRAINING, id="draining"),
        pytest.param(replica("a", state=ReplicaState.PENDING_MIGRATION), Held.RUNNING, id="about-to-move"),
        pytest.param(replica("a", state=ReplicaState.UNRECOGNISED), Held.RUNNING, id="not-understood"),
    ],
)
def test_a_replica_holds_its_gpus_on_the_worker_of_its_address(one: Replica, held: Held) -> None:
    first, second = on_one(served(one)).nodes[0].workers

    assert [(found.deployment, found.gpus, found.state) for found in first.occupants] == [(CHAT, 2, held)]
    assert (first.free_gpus, second.free_gpus) == (2, 4)


def test_one_without_an_address_waits_and_one_with_a_strange_address_is_elsewhere() -> None:
    found = on_one(served(replica("a", None, ReplicaState.STARTING), replica("b", "10.9.9.9"), replica("c", None)))

    assert found.waiting == {CHAT: 1}
    assert found.elsewhere == {CHAT: 2}
    assert "hold GPUs on no worker" in found.problems[0]


def test_gpus_of_a_replica_over_several_workers_are_all_taken() -> None:
    wide = {CHAT: ReplicaShape(accelerator=L4, tensor_parallel=6, packing=Packing.PACK)}

    first, second = on_one(served(replica("a")), wide).nodes[0].workers

    assert (first.free_gpus, second.free_gpus) == (0, 2)
    assert second.occupants[0].replica == "a"


def test_a_deployment_without_a_placement_keeps_its_worker_busy() -> None:
    first, _ = on_one(served(replica("r"), name=CODE), {}).nodes[0].workers

    assert first.free_gpus == 4
    assert first.occupants
    assert on_one(served(replica("r"), name=CODE, actor_gpus=0.5), {}).nodes[0].workers[0].free_gpus == 3


def test_a_ready_worker_without_an_address_is_taken_for_full_and_a_starting_one_for_empty() -> None:
    nodes = [
        node("n1", FOUR, worker("w1", of=GROUP)),
        node("n2", FOUR, worker("w2", of=GROUP, state=WorkerState.STARTING)),
    ]

    found = occupied(nodes, served(), SHAPES, {"l4": L4})

    assert [one.deployment for one in found.nodes[0].workers[0].occupants] == [SOMEBODY]
    assert found.nodes[0].in_use
    assert found.nodes[1].workers[0].free_gpus == 4
    assert "have no address" in found.problems[0]


def test_more_than_a_worker_has_is_told_and_never_negative() -> None:
    found = on_one(served(replica("a"), replica("b"), replica("c")))

    assert found.nodes[0].workers[0].free_gpus == 0
    assert "hold more GPUs than they have" in found.problems[0]


def test_a_replica_whose_worker_is_gone_is_lost_and_not_elsewhere() -> None:
    """Serve tells of it as running until it has noticed; a node for it is needed all the same."""
    serve = served(replica("a"), replica("b", ip="10.0.0.9"), replica("c", ip="10.0.0.8"))
    nodes = [node("n1", FOUR, worker("w1", of=GROUP, address="10.0.0.1"))]

    found = occupied(nodes, serve, SHAPES, {"l4": L4}, placed_before={"a", "b"})

    assert found.elsewhere == {CHAT: 1}
    assert f"1 of {CHAT} went with their workers, and Serve has not noticed yet" in found.problems
