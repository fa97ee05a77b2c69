"""Rules of the policy's cluster section, and what the planner makes of it."""

from typing import Any

import pytest
from pydantic import ValidationError

from controller.domain.placement import Budget
from controller.domain.pools import TotalBounds, ZoneBounds
from controller.policy.cluster import ClusterPolicy, GkePolicy
from controller.policy.model import Policy

GROUP = {"name": "l4", "accelerator": "nvidia-l4", "gpus_per_worker": 2, "max_workers": 4}
POOL = {
    "name": "l4",
    "accelerator": "nvidia-l4",
    "gpus_per_node": 4,
    "zones": ["b", "a"],
    "bounds": {"max_nodes": 3},
}
DEPLOYMENT = {
    "application": "chat",
    "deployment": "llm",
    "limits": {"max_replicas": 4},
    "capacity": {"target_ongoing_requests": 8},
}


def section(groups: list[dict[str, Any]], pools: list[dict[str, Any]], **fields: Any) -> ClusterPolicy:
    return ClusterPolicy.model_validate({"worker_groups": groups, "node_pools": pools, **fields})


@pytest.mark.parametrize(
    ("groups", "pools", "fields", "said"),
    [
        pytest.param([GROUP, GROUP], [POOL], {}, "worker_groups: l4 is listed twice; keep one entry", id="group-twice"),
        pytest.param([GROUP], [POOL, POOL], {}, "node_pools: l4 is listed twice; keep one entry", id="pool-twice"),
        pytest.param(
            [GROUP | {"min_workers": 5}], [POOL], {}, "min_workers (5) must be <= max_workers (4)", id="workers-min-max"
        ),
        pytest.param(
            [GROUP],
            [POOL | {"bounds": {"min_nodes": 4, "max_nodes": 3}}],
            {},
            "min_nodes (4) must be <= max_nodes (3)",
            id="nodes-min-max",
        ),
        pytest.param(
            [GROUP | {"node_pools": ["h100"]}],
            [POOL],
            {},
            "worker_groups: l4 names the pool h100; there are l4",
            id="pool-unknown",
        ),
        pytest.param(
            [GROUP | {"gpus_per_worker": 8}],
            [POOL],
            {},
            "worker_groups: l4 needs 8 nvidia-l4 on one node; list a pool that has them",
            id="worker-larger-than-any-node",
        ),
        pytest.param(
            [GROUP],
            [POOL, POOL | {"name": "spot", "price_per_hour": 1}],
            {},
            "node_pools: only some have a price_per_hour; give it to l4 too, or to none",
            id="some-prices",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    groups: list[dict[str, Any]], pools: list[dict[str, Any]], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        section(groups, pools, **fields)

    assert said in str(refused.value)


def test_a_replica_that_no_worker_can_hold_is_refused() -> None:
    placement = {"accelerator": "nvidia-l4", "tensor_parallel": 4}
    cluster = {"worker_groups": [GROUP], "node_pools": [POOL]}

    with pytest.raises(ValidationError, match="chat/llm needs 4 nvidia-l4 for a replica, which no worker group has"):
        Policy.model_validate(
            {"version": 1, "deployments": [DEPLOYMENT | {"placement": placement}], "cluster": cluster}
        )
    spanning = placement | {"packing": "pack"}
    Policy.model_validate({"version": 1, "deployments": [DEPLOYMENT | {"placement": spanning}], "cluster": cluster})


@pytest.mark.parametrize(
    ("provisioning", "given", "order"),
    [
        pytest.param("reservation", None, 0, id="paid-for-anyway"),
        pytest.param("on_demand", None, 1, id="then-on-demand"),
        pytest.param("spot", None, 2, id="then-spot"),
        pytest.param("flex_start", None, 3, id="then-the-queue"),
        pytest.param("spot", 0, 0, id="said-otherwise"),
    ],
)
def test_the_order_of_pools(provisioning: str, given: int | None, order: int) -> None:
    policy = section([GROUP], [POOL | {"provisioning": provisioning, "order": given}])

    assert policy.node_pools[0].pool.priority == order


def test_bounds_per_zone_and_in_total_stay_apart() -> None:
    per_zone = POOL | {"name": "z", "bounds": {"scope": "zone", "min_nodes": 1, "max_nodes": 3}}

    total, zone = (pool.pool for pool in section([GROUP], [POOL, per_zone]).node_pools)

    assert (total.bounds, total.max_nodes) == (TotalBounds(0, 3), 3)
    assert (zone.bounds, zone.min_nodes, zone.max_nodes) == (ZoneBounds(1, 3), 2, 6)


PLACED = {"placement": {"accelerator": "nvidia-l4"}}


def test_one_budget_is_for_replicas_and_for_all_pools_together() -> None:
    cluster = {"worker_groups": [GROUP], "node_pools": [POOL | {"price_per_hour": 2}]}
    budget = {"spend_per_hour": 10, "gpus": 16}
    policy = Policy.model_validate(
        {"version": 1, "deployments": [DEPLOYMENT | PLACED], "cluster": cluster, "budget": budget}
    )

    assert policy.budget is not None
    assert policy.budget.of_nodes == Budget(cost_per_hour=10, gpus=16)
    assert policy.gpu_price(policy.deployments[0]) == 2 / POOL["gpus_per_node"]


@pytest.mark.parametrize(
    ("deployment", "pool", "budget", "saying"),
    [
        pytest.param(PLACED, {}, {"spend_per_hour": 5}, "give the pool l4 a price_per_hour", id="pool-without-price"),
        pytest.param({}, {"price_per_hour": 2}, {"spend_per_hour": 5}, "its gpu_price_per_hour", id="not-in-a-pool"),
        pytest.param(
            PLACED | {"gpu_price_per_hour": 1},
            {"price_per_hour": 2},
            {"gpus": 5},
            "leave gpu_price_per_hour out",
            id="two-prices",
        ),
        pytest.param(
            PLACED | {"gpus_per_replica": 1}, {}, {"gpus": 5}, "leave gpus_per_replica out", id="gpus-said-twice"
        ),
    ],
)
def test_prices_and_gpus_are_said_once(
    deployment: dict[str, Any], pool: dict[str, Any], budget: dict[str, Any], saying: str
) -> None:
    with pytest.raises(ValidationError, match=saying):
        Policy.model_validate(
            {
                "version": 1,
                "deployments": [DEPLOYMENT | deployment],
                "cluster": {"worker_groups": [GROUP], "node_pools": [POOL | pool]},
                "budget": budget,
            }
        )


@pytest.mark.parametrize(
    ("key", "value", "saying"),
    [
        ("project", "123456789", "is not a project id"),
        ("project", "My Project", "is not a project id"),
        ("location", "us-central", "is not a region"),
        ("location", "US-CENTRAL1", "is not a region"),
        ("cluster", "serving_a", "is not lower-case letters"),
    ],
)
def test_where_the_cluster_is_must_be_spelled_as_google_does(key: str, value: str, saying: str) -> None:
    place = {"project": "my-project", "location": "us-central1", "cluster": "serving"}

    with pytest.raises(ValidationError, match=saying):
        GkePolicy.model_validate(place | {key: value})


@pytest.mark.parametrize("location", ["us-central1", "us-central1-a", "europe-west12", "northamerica-northeast1-b"])
def test_regions_and_zones_are_locations(location: str) -> None:
    found = GkePolicy(project="example.com:my-project", location=location, cluster="serving")

    assert found.path == f"projects/example.com:my-project/locations/{location}/clusters/serving"
