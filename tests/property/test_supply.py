"""Ordering nodes from a platform that is slow, refuses, reclaims, and whose news come late, twice and out of order."""

import random
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterPlan
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal, SupplyEvent, SupplyLedger, SupplyOrder
from controller.planner.placement import plan_cluster
from controller.planner.supply.leads import pool_leads
from controller.planner.supply.ledger import note
from controller.planner.supply.news import listed, ordered_nodes
from controller.planner.supply.standing import coming_nodes, standings
from controller.planner.supply.verdicts import LONGEST_BACKOFF_S, verdicts
from tests.cluster import NOW, busy, cluster, node, pool, wants

POOLS = {one.name: one for one in (pool("first", priority=0, most=3), pool("second", priority=1, most=4))}
names = st.sampled_from(sorted(POOLS))


class Ordering(RuleBasedStateMachine):
    """The controller's part is whole: list, note, judge, plan, order. The platform does as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.wanted = 0
        self.nodes: dict[str, Node] = {}
        self.asked: dict[str, int] = dict.fromkeys(POOLS, 0)
        self.heard: list[SupplyEvent] = []
        self.on_their_way: list[SupplyEvent] = []
        self.ledger = SupplyLedger()
        self.made = 0

    @initialize(replicas=st.integers(1, 6))
    def begin(self, replicas: int) -> None:
        self.wanted = replicas

    def hear(self, *events: SupplyEvent) -> None:
        self.heard += events
        self.ledger = note(self.ledger, events)

    def plan(self) -> tuple[ClusterPlan, tuple[SupplyOrder, ...]]:
        leads = pool_leads(self.ledger, POOLS, assumed_s=dict.fromkeys(POOLS, 200.0))
        given = replace(
            cluster(wants(self.wanted), pools=list(POOLS.values()), nodes=list(self.nodes.values())),
            leads=leads,
            coming=coming_nodes(self.ledger, now=self.now),
            verdicts=verdicts(self.ledger, now=self.now),
        )
        plan = plan_cluster(given, now=self.now)
        return plan, ordered_nodes(plan, self.ledger, leads, now=self.now)

    @rule(seconds=st.sampled_from([1.0, 10.0, 60.0, 250.0, 1000.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.hear(*listed(self.ledger, self.nodes.values(), now=self.now))
        left_alone = {one.pool for one in verdicts(self.ledger, now=self.now) if one.zone is None}
        plan, orders = self.plan()
        self.hear(*orders)
        for order in orders:
            self.asked[order.key] = max(0, self.asked[order.key] + order.count)

        for target in plan.pools:
            present = sum(one.pool == target.pool for one in self.nodes.values())
            assert target.new == 0 or target.pool not in left_alone
            assert present - len(target.releasable) + target.coming + target.new == target.nodes
            assert target.nodes <= max(POOLS[target.pool].max_nodes, present)
            assert target.nodes >= target.in_use
        assert self.plan()[1] == ()

    @rule(replicas=st.integers(0, 8))
    def demand_changes(self, replicas: int) -> None:
        self.wanted = replicas

    @rule(name=names)
    def platform_creates(self, name: str) -> None:
        if self.asked[name] > 0:
            self.asked[name] -= 1
            self.made += 1
            new = node(f"n{self.made}", POOLS[name], state=NodeState.STARTING, since=self.now)
            self.nodes[new.name] = new

    @rule(name=names)
    def platform_makes_more_than_asked(self, name: str) -> None:
        if sum(one.pool == name for one in self.nodes.values()) + self.asked[name] < POOLS[name].max_nodes:
            self.asked[name] += 1
            self.platform_creates(name)

    @rule(data=st.data())
    def a_node_gets_ready_and_takes_a_replica(self, data: st.DataObject) -> None:
        starting = sorted(name for name, one in self.nodes.items() if one.state is NodeState.STARTING)
        if starting:
            name = data.draw(st.sampled_from(starting))
            one = self.nodes[name]
            serving = busy(name, POOLS[one.pool]) if data.draw(st.booleans()) else node(name, POOLS[one.pool])
            self.nodes[name] = replace(serving, since=one.since, ready_at=self.now)

    @rule(data=st.data())
    def a_node_vanishes(self, data: st.DataObject) -> None:
        if self.nodes:
            del self.nodes[data.draw(st.sampled_from(sorted(self.nodes)))]

    @rule(name=names, zone=st.sampled_from([None, None, "a"]))
    def platform_refuses(self, name: str, zone: str | None) -> None:
        self.on_their_way.append(
            Refusal(pool=name, at=self.now, kind=VerdictKind.STOCKED_OUT, detail="GCE_STOCKOUT", zone=zone)
        )
        self.asked[name] = self.asked[name] if zone else 0

    @rule(data=st.data())
    def news_arrive_late(self, data: st.DataObject) -> None:
        if self.on_their_way:
            self.hear(self.on_their_way.pop(data.draw(st.integers(0, len(self.on_their_way) - 1))))

    @rule(data=st.data())
    def news_arrive_twice(self, data: st.DataObject) -> None:
        if self.heard:
            self.hear(data.draw(st.sampled_from(self.heard)))

    def teardown(self) -> None:
        """In the end, the same news in any order are the same ledger."""
        shuffled = random.Random(0).sample(self.heard, len(self.heard))
        one_by_one = SupplyLedger()
        for event in shuffled:
            one_by_one = note(one_by_one, [event])

        assert one_by_one == self.ledger

    @invariant()
    def nothing_counts_twice(self) -> None:
        followed = [one for one in standings(self.ledger, now=self.now) if one.order.layer is Layer.NODE]
        units = {unit.uid for unit in self.ledger.units if unit.layer is Layer.NODE}

        assert sum(one.created for one in followed) <= len(units)
        assert all(0 <= one.ready <= one.created <= one.wanted <= one.order.count for one in followed)
        assert all(one.coming == 0 for one in followed if self.now > one.order.deadline)

    @invariant()
    def no_pool_is_left_alone_for_longer_than_the_platform_would(self) -> None:
        for verdict in verdicts(self.ledger, now=self.now):
            assert self.now < verdict.until <= verdict.since + LONGEST_BACKOFF_S


Ordering.TestCase.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_ordering = Ordering.TestCase
