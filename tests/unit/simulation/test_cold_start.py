"""A controller that has never seen the service: what it orders before it knows what a replica carries."""

from __future__ import annotations

from pathlib import Path

from controller.domain.record import TickRecord
from controller.policy.load import LoadedPolicy
from controller.policy.model import Policy
from controller.simulation.controlled import run_control_loop
from controller.simulation.demand import Demand
from controller.simulation.driver import Run
from controller.simulation.outcome import Objectives
from tests.simulated import cluster_of, steady

MOST, LENGTH_S = 48, 300.0
LONG_PROMPTS, LONG_PROMPTS_NEED = steady(20.0, LENGTH_S, prompt=3500, output=100), 11
CHAT, CHAT_NEEDS = steady(18.0, LENGTH_S, prompt=1800, output=250), 9
"""With what keeps 99 % of them within both objectives, found by fixed fleets."""

POLICY = LoadedPolicy(
    policy=Policy.model_validate(
        {
            "version": 1,
            "deployments": [
                {
                    "application": "chat",
                    "deployment": "LLMServer:llama",
                    "limits": {"max_replicas": MOST},
                    "capacity": {"target_ongoing_requests": 16, "kv_cache_tokens": 41_900},
                    "placement": {"accelerator": "nvidia-l4"},
                    "stabilisation": {"downscale_delay_s": 60},
                }
            ],
            "cluster": {
                "worker_groups": [
                    {"name": "gpu", "accelerator": "nvidia-l4", "gpus_per_worker": 1, "max_workers": MOST}
                ],
                "node_pools": [
                    {
                        "name": "gpu",
                        "accelerator": "nvidia-l4",
                        "gpus_per_node": 1,
                        "zones": ["a"],
                        "assumed_lead_s": 300,
                        "bounds": {"max_nodes": MOST},
                    }
                ],
            },
        },
        strict=False,
    ),
    version="test",
    path=Path("policy.yaml"),
)


class Nodes:
    """The most nodes that were ever wanted."""

    def __init__(self) -> None:
        self.most = 0

    def export(self, record: TickRecord) -> None:
        if record.cluster is not None:
            self.most = max([self.most, *(pool.nodes for pool in record.cluster.plan.pools)])


def started(demand: Demand, *, initial: int) -> tuple[Run, int]:
    nodes = Nodes()
    run = run_control_loop(
        POLICY,
        demand,
        cluster_of(
            replica__startup_s=[120, 120],
            nodes__provision_s=300,
            nodes__idle_timeout_s=600,
            limits__max_replicas=MOST,
        ),
        name="foreserve",
        seed=1,
        initial=initial,
        objectives=Objectives(),
        exporters=(nodes,),
        housed=True,
    )
    return run, nodes.most


def test_a_fleet_is_left_alone_while_what_it_carries_is_being_learned() -> None:
    """By what is in flight, which long prompts keep low, it was cut, overloaded, and given 23 nodes for its queue."""
    run, nodes = started(LONG_PROMPTS, initial=LONG_PROMPTS_NEED + 2)

    assert run.scale_downs == 0
    assert run.service.slo_attainment > 0.99
    assert nodes <= 1.5 * LONG_PROMPTS_NEED + 1


def test_a_single_replica_under_the_load_of_nine_orders_nodes_for_the_load_and_not_for_its_queue() -> None:
    """It was all 48 that the policy allows, within a minute."""
    _, nodes = started(CHAT, initial=1)

    assert CHAT_NEEDS <= nodes <= 2 * CHAT_NEEDS
