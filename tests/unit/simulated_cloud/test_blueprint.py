"""From a policy to the cluster that is simulated for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.errors import BadInputError
from controller.policy.load import load_policy
from controller.policy.model import Policy
from controller.simulated_cloud.blueprint import blueprint

ROOT = Path(__file__).parents[3]


def policy(*, deployment: dict[str, Any] | None = None, group: Any = None, pool: Any = None, **cluster: Any) -> Policy:
    return Policy.model_validate(
        {
            "version": 1,
            "deployments": [
                {
                    "application": "chat",
                    "deployment": "LLMServer:tiny",
                    "limits": {"min_replicas": 3, "max_replicas": 8},
                    "capacity": {"target_ongoing_requests": 4},
                    "placement": {"accelerator": "nvidia-l4", "tensor_parallel": 2},
                    **(deployment or {}),
                }
            ],
            "cluster": {
                "worker_groups": [
                    {"name": "l4", "accelerator": "nvidia-l4", "gpus_per_worker": 2, "max_workers": 8, **(group or {})}
                ],
                "node_pools": [
                    {
                        "name": "spot",
                        "accelerator": "nvidia-l4",
                        "gpus_per_node": 4,
                        "zones": ["a", "b"],
                        "provisioning": "spot",
                        "bounds": {"scope": "zone", "min_nodes": 0, "max_nodes": 2},
                    },
                    {
                        "name": "own",
                        "accelerator": "nvidia-l4",
                        "gpus_per_node": 4,
                        "zones": ["a"],
                        "assumed_lead_s": 200,
                        "bounds": {"max_nodes": 4},
                        **(pool or {}),
                    },
                ],
                **cluster,
            },
        },
        strict=False,
    )


def test_pools_are_drawn_on_in_the_policys_order_and_have_its_bounds_and_leads() -> None:
    plan = blueprint(policy())

    own, spot = plan.pools
    assert (own.name, own.total, own.per_zone, own.gpus) == ("own", (0, 4), None, 4)
    assert (spot.name, spot.total, spot.per_zone, spot.provisioning) == ("spot", None, (0, 2), "spot")
    assert sum(own.provision_s) / 2 + sum(own.boot_s) / 2 == pytest.approx(200.0)


def test_it_begins_with_the_fewest_replicas_on_as_many_nodes_as_these_and_the_fewest_workers_need() -> None:
    plan = blueprint(policy())
    roomy = blueprint(policy(group={"min_workers": 7}))

    assert [app.replicas for app in plan.apps] == [3]
    assert plan.begin == {"own": 2, "spot": 0}
    assert roomy.begin == {"own": 4, "spot": 0}


def test_a_deployment_that_may_go_to_zero_begins_with_one() -> None:
    zero = {"after_idle_s": 60, "cold_start_promise_s": 900}
    terms = {"limits": {"min_replicas": 0, "max_replicas": 8}, "scale_to_zero": zero}

    plan = blueprint(policy(deployment=terms))

    assert [app.replicas for app in plan.apps] == [1]


def test_a_group_keeps_to_its_pools() -> None:
    plan = blueprint(policy(group={"node_pools": ["spot"]}))

    assert plan.groups[0].pools == ("spot",)
    assert plan.begin == {"own": 0, "spot": 2}


def test_the_shipped_policy_can_be_simulated() -> None:
    plan = blueprint(load_policy(ROOT / "manifests" / "policies" / "simulated.yaml").policy)

    assert [pool.name for pool in plan.pools] == ["l4-reserved", "l4"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param(policy().model_copy(update={"cluster": None}), "no cluster section", id="no-cluster"),
        pytest.param(policy(deployment={"placement": None}), "has no placement", id="no-placement"),
        pytest.param(policy(node_pool_label="pool"), "node_pool_label: 'pool' is not simulated", id="label"),
        pytest.param(
            policy(pool={"provisioning": "flex_start", "queued": True}), "own is queued; queues of", id="queued"
        ),
        pytest.param(
            policy(deployment={"placement": {"accelerator": "nvidia-l4", "tensor_parallel": 4, "packing": "pack"}}),
            "no worker group has 4 nvidia-l4 in one worker",
            id="spread",
        ),
    ],
)
def test_what_is_not_simulated_is_refused(wrong: Policy, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        blueprint(wrong)
