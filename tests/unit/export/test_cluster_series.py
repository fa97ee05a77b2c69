"""Metrics of nodes and workers, from a record of the loop on a simulated cluster."""

from __future__ import annotations

from controller.catalog import exported
from controller.export.cluster_series import cluster_gauges
from tests.scenarios.cluster_world import ClusterWorld, cluster_of, cluster_policy
from tests.scenarios.simulated import CHAT


async def test_pools_have_their_nodes_what_a_node_holds_and_what_it_costs() -> None:
    policy = cluster_policy(CHAT, pools=({"name": "l4", "price_per_hour": 2.0},))
    world = ClusterWorld({CHAT: lambda _: 14.0}, policy=policy)
    await world.scaled_out(4)

    found = {(metric, labels): value for metric, labels, value in cluster_gauges(cluster_of(world.records[-1]))}

    assert found[exported.NODES, ("l4", "wanted")] == 4
    assert found[exported.NODES, ("l4", "ready")] == 4
    assert found[exported.NODE_GPUS, ("l4", "nvidia-l4", "on_demand")] == 1
    assert found[exported.NODE_PRICE, ("l4",)] == 2.0
    assert found[exported.POOL_OPEN, ("l4", "")] == 1


async def test_a_pool_without_a_price_has_none() -> None:
    world = ClusterWorld({CHAT: lambda _: 3.0})
    await world.run(30)

    metrics = {metric for metric, _, _ in cluster_gauges(cluster_of(world.records[-1]))}

    assert exported.NODE_GPUS in metrics
    assert exported.NODE_PRICE not in metrics
