"""Plan after plan: what was ordered, what came of it, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from controller.domain.nodes import Node
from controller.domain.placement import ClusterPlan, ReplicaDemand
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal, SupplyLedger
from controller.planner.placement import plan_cluster
from controller.planner.placement.given import cluster_input
from controller.planner.supply.ledger import note, prune
from controller.planner.supply.news import listed, ordered_nodes
from controller.policy.cluster import ClusterPolicy
from tests.cluster import BY_NODE, CHAT, CODE, H100, NOW, busy, pool, wants

POLICY = ClusterPolicy.model_validate(
    {
        "worker_groups": [
            {"name": "l4", "accelerator": "nvidia-l4", "gpus_per_worker": 1, "max_workers": 20},
            {"name": "h100", "accelerator": "nvidia-h100-80gb", "gpus_per_worker": 1, "max_workers": 20},
        ],
        "node_pools": [
            {
                "name": name,
                "accelerator": accelerator,
                "gpus_per_node": 1,
                "zones": ["a", "b"],
                "provisioning": provisioning,
                "bounds": {"max_nodes": 10},
                "assumed_lead_s": 200,
            }
            for name, accelerator, provisioning in (
                ("l4-first", "nvidia-l4", "on_demand"),
                ("l4-next", "nvidia-l4", "spot"),
                ("h100", "nvidia-h100-80gb", "on_demand"),
            )
        ],
    }
)


@dataclass
class Story:
    """A controller that lists, plans and orders every 10 seconds, and what happens meanwhile."""

    demands: Sequence[ReplicaDemand]
    now: float = NOW
    nodes: list[Node] = field(default_factory=list)
    ledger: SupplyLedger = field(default_factory=SupplyLedger)

    def tick(self, seconds: float = 10.0) -> dict[str, int]:
        """Return what was ordered, by pool."""
        self.now += seconds
        self.ledger = note(self.ledger, listed(self.ledger, self.nodes, now=self.now))
        given = cluster_input(POLICY, self.demands, self.nodes, self.ledger, interval_s=10, now=self.now)
        plan: ClusterPlan = plan_cluster(given, now=self.now)
        orders = ordered_nodes(plan, self.ledger, given.leads, now=self.now)
        self.ledger = prune(note(self.ledger, orders), now=self.now)
        return {order.key: order.count for order in orders}

    def refuse(self, name: str) -> None:
        refusal = Refusal(pool=name, at=self.now, kind=VerdictKind.STOCKED_OUT, detail="GCE_STOCKOUT")
        self.ledger = note(self.ledger, [refusal])


def test_a_stock_out_moves_to_the_next_pool_in_one_plan_while_others_go_on() -> None:
    story = Story([wants([(BY_NODE, 3)], CHAT), wants([(BY_NODE, 1)], CODE, accelerator=H100)])

    assert story.tick() == {"l4-first": 3, "h100": 1}
    assert story.tick() == {}
    story.refuse("l4-first")
    assert story.tick() == {"l4-next": 3}
    assert [story.tick() for _ in range(20)] == [{}] * 20


def test_an_order_that_does_not_come_is_placed_elsewhere_at_its_deadline() -> None:
    """The lead is 200 s, late after 250."""
    story = Story([wants([(BY_NODE, 2)])])

    assert story.tick() == {"l4-first": 2}
    waits = [story.tick() for _ in range(25)]
    after = story.tick()

    assert waits == [{}] * 25
    assert after == {"l4-next": 2}


def test_what_came_is_not_ordered_again_and_a_reclaimed_node_is() -> None:
    story = Story([wants([(BY_NODE, 2)])])
    story.tick()
    story.nodes = [replace(busy(name, pool("l4-first")), since=story.now, ready_at=story.now) for name in ("n1", "n2")]

    assert story.tick() == {}
    story.nodes = story.nodes[:1]
    assert story.tick() == {"l4-first": 1}
    assert story.tick() == {}


def test_a_demand_that_falls_calls_off_what_is_coming() -> None:
    story = Story([wants([(BY_NODE, 3)])])
    story.tick()
    story.demands = [wants([(BY_NODE, 1)])]

    assert story.tick() == {"l4-first": -2}
    assert story.tick() == {}


def test_a_pool_is_tried_again_no_sooner_than_the_platform_would() -> None:
    story = Story([wants([(BY_NODE, 1)])])
    for name in ("l4-first", "l4-next"):
        story.refuse(name)

    ordered = [story.tick() for _ in range(30)]

    assert ordered == [{}] * 29 + [{"l4-first": 1}]
