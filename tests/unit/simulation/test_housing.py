"""A simulated fleet seen and set as a cluster."""

from __future__ import annotations

from controller.domain.cluster import LayerStep
from controller.domain.layer import Layer
from controller.domain.nodes import NodeState
from controller.domain.plan import OutcomeStatus
from controller.policy.cluster import ClusterPolicy
from controller.simulation.fleet import Fleet
from controller.simulation.housing import SimulatedCluster
from tests.simulated import cluster_of, steady

ORIGIN = 1_000_000.0
POLICY = ClusterPolicy.model_validate(
    {
        "worker_groups": [{"name": "gpu", "accelerator": "nvidia-l4", "gpus_per_worker": 1, "max_workers": 8}],
        "node_pools": [
            {
                "name": "gpu",
                "accelerator": "nvidia-l4",
                "gpus_per_node": 1,
                "zones": ["a"],
                "bounds": {"max_nodes": 8},
            }
        ],
    }
)


def world() -> tuple[Fleet, SimulatedCluster]:
    cluster = cluster_of(replica__startup_s=[100, 100], nodes__provision_s=300, nodes__idle_timeout_s=600)
    fleet = Fleet(steady(1.0, 4000.0), cluster, seed=1)
    return fleet, SimulatedCluster(fleet, POLICY, origin=ORIGIN)


def keep(vacant: int) -> LayerStep:
    return LayerStep(layer=Layer.NODE, name="gpu", found=1, wanted=1 + vacant, up=True, detail="", vacant=vacant)


async def test_a_node_is_ordered_then_starting_then_ready() -> None:
    fleet, cluster = world()
    found = await cluster.observe(ORIGIN)
    outcome = await cluster.apply(keep(1), found)
    states = []
    for at in (100.0, 200.0, 400.0):
        fleet.advance(at)
        found = await cluster.observe(ORIGIN + at)
        states.append([node.state for node in found.nodes or ()])

    assert outcome.status is OutcomeStatus.APPLIED
    assert states == [
        [NodeState.READY],
        [NodeState.READY, NodeState.STARTING],
        [NodeState.READY, NodeState.READY],
    ]
    assert found.warm == (("gpu", 1),)


async def test_a_replica_on_a_kept_node_has_its_worker_at_once_and_another_waits_for_a_node() -> None:
    fleet, cluster = world()
    await cluster.apply(keep(1), await cluster.observe(ORIGIN))
    fleet.advance(400.0)
    await cluster.apply(keep(0), await cluster.observe(ORIGIN + 400.0))
    fleet.set_target(3)

    found = await cluster.observe(ORIGIN + 400.0)

    assert [len(node.workers) for node in found.nodes or ()] == [1, 1]
    assert [len(group.pending) for group in found.groups or ()] == [1]


async def test_bounds_of_the_group_are_those_that_were_set() -> None:
    _, cluster = world()
    step = LayerStep(layer=Layer.WORKER, name="gpu", found=0, wanted=2, up=True, detail="", most=5)

    await cluster.apply(step, await cluster.observe(ORIGIN))

    (group,) = (await cluster.observe(ORIGIN)).groups or ()
    assert (group.min_workers, group.max_workers) == (2, 5)
