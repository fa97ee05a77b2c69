"""Replicas, workers, nodes, two controllers, a lease and all their troubles, in any order that Hypothesis can think of.

Time stands still but for the rule that lets it pass, so that any number of things happen between two ticks. A hunt
of thousands of interleavings: INTERLEAVINGS=2000 python -m pytest tests/chaos/test_interleavings.py
"""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.plan import Action, OrderStatus, OutcomeStatus, Reason
from controller.domain.record import TickRecord
from controller.domain.scrape import SourceKind
from controller.domain.state import PlannerState
from controller.loop.leading import Succession, Term
from controller.planner.ledger import KEPT_S
from controller.planner.ownership import SECOND_WRITER
from tests.chaos.rivals import SOURCES, Left, Rivals
from tests.clocks import VirtualClock
from tests.scenarios.cluster_world import CODE, INTERVAL_S, cluster_policy
from tests.scenarios.ground import PlacedDeployment, SimulatedCluster, SimulatedGroup, SimulatedPool
from tests.scenarios.simulated import CHAT
from tests.scenarios.world import START

MOST_REPLICAS = 8
BUDGET_GPUS = 12
MAX_AGE_S = 30.0
CALM_S = 700.0
SETTLED_S = 200.0
POOLS = ("l4", "l4-spot")
GIVEN = {"target_ongoing_requests": 4, "learn": False}
AT_ONCE = {"downscale_delay_s": 0, "max_drain_wait_s": 0}
DEATH = "killed after the write"
"""What ends a tick in these stories."""
LONG = int(os.environ.get("INTERLEAVINGS", "0"))
SHRINK = "SHRINK" in os.environ

NOT_DONE = (OutcomeStatus.REFUSED, OutcomeStatus.FAILED)
OPEN = (OrderStatus.PENDING, OrderStatus.LATE)

whose = st.sampled_from(["a", "b"])
which = st.sampled_from([CHAT, CODE])


class Fleet(RuleBasedStateMachine):
    """The rules are what may happen; the invariants are what must hold whatever does."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = VirtualClock(START)
        pools = [SimulatedPool(name, node_s=60.0) for name in POOLS]
        self.cluster = SimulatedCluster(self.clock, pools, [SimulatedGroup("l4", worker_s=10.0, most=20)])
        self.loads = {CHAT: 2.0, CODE: 2.0}
        self.checked = 0
        self.silent_since: dict[SourceKind, float] = {}
        self.lost = 0
        self.needed = len(self.loads)
        self.kept = 0
        self.by_others: set[DeploymentId] = set()
        """Deployments whose target is one that nobody could tell the next leader of."""

    @initialize()
    def begin(self) -> None:
        for _ in self.loads:
            self.cluster.add_node(POOLS[0])
        for name in self.loads:
            deployment = PlacedDeployment(self.clock, lambda _at, name=name: self.loads[name], start_s=20.0, id=name)
            deployment.begin_with(self.cluster, 1)
        policy = cluster_policy(
            *self.loads,
            pools=[{"name": name, "assumed_lead_s": 60} for name in POOLS],
            # Where nothing is waited for, only what must hold in the dark does.
            terms={
                CHAT: {"capacity": GIVEN, "stabilisation": {"downscale_delay_s": 30}},
                CODE: {"capacity": GIVEN, "stabilisation": AT_ONCE},
            },
            budget={"gpus": BUDGET_GPUS},
        )
        self.rivals = Rivals(self.cluster, policy)

    def teardown(self) -> None:
        try:
            # What has gone wrong by now is what is to be told.
            if hasattr(self, "rivals") and sys.exception() is None:
                self._calm_down()
        finally:
            self.runner.close()

    # What may happen.

    @rule(who=whose)
    def tick(self, who: str) -> None:
        left, others = self.rivals.shelf.left, set(self.by_others)
        before, written = len(self.rivals.records[who]), len(self.rivals.written)
        asked = len(self.rivals.stores[who].asked)
        self.runner.run(self.rivals.loops[who].attempt())
        # A tick that is killed has told what it is about to order, if only to the log, and no more.
        for record in self.rivals.stores[who].asked[asked:]:
            self.needed = max(self.needed, _nodes_needed_or_held(record))
        self.every_write_is_the_leaders_and_within_limits()
        for record in self.rivals.records[who][before:]:
            self.needed = max(self.needed, _nodes_needed_or_held(record))
            self.kept = max(self.kept, _nodes_kept(record))
            self._sees_before_it_lowers(record)
            if record.leading is not None and record.leading.leads:
                self._knows_what_was_ordered(record, left)
                self._knows_what_was_set(record, others)
        for one in self.rivals.written[written:]:
            if one.layer is Layer.REPLICA:
                (self.by_others.discard if one.told else self.by_others.add)(one.deployment)

    @rule(seconds=st.sampled_from([1.0, 10.0, 10.0, 30.0, 90.0]))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(rounds=st.integers(1, 6))
    def both_tick_for_a_while(self, rounds: int) -> None:
        for _ in range(rounds):
            self.tick("a")
            self.tick("b")
            self._pass(INTERVAL_S)

    @rule(name=which, load=st.sampled_from([0.0, 1.0, 2.0, 9.0, 20.0, 200.0]))
    def load_changes(self, name: DeploymentId, load: float) -> None:
        self.loads[name] = load

    @rule(name=which, kind=st.sampled_from(SOURCES), load=st.sampled_from([0.0, 1.0, 9.0]))
    def load_falls_in_the_dark(self, name: DeploymentId, kind: SourceKind, load: float) -> None:
        self.loads[name] = 20.0
        self.both_tick_for_a_while(4)
        self.source_falls_silent_or_speaks(kind, silent=True)
        self.both_tick_for_a_while(4)
        self.loads[name] = load
        self.both_tick_for_a_while(4)

    @rule(who=whose, name=which, load=st.sampled_from([9.0, 20.0]))
    def heir_does_not_see_what_was_ordered(self, who: str, name: DeploymentId, load: float) -> None:
        """One orders and is never heard of again; the other has slept since before the load changed."""
        self.rivals.lease.pass_to(who)
        self.loads[name] = load
        for _ in range(4):
            self.tick(who)
            self._pass(INTERVAL_S)
        heir = "b" if who == "a" else "a"
        self.rivals.lease.pass_to(heir)
        self.tick(heir)

    @rule(who=st.sampled_from(["a", "b", None]))
    def lease_passes(self, who: str | None) -> None:
        self.rivals.lease.pass_to(who)

    @rule(looks=st.integers(1, 6), heir=st.sampled_from(["a", "b", None]))
    def lease_will_be_lost_in_the_midst(self, looks: int, heir: str | None) -> None:
        self.rivals.lease.lose_after(looks, heir)

    @rule(broken=st.booleans())
    def hand_over_breaks_or_is_mended(self, broken: bool) -> None:
        self.rivals.shelf.broken = broken

    @rule(who=whose)
    def killed_and_started_anew(self, who: str) -> None:
        self.rivals.restart(who)

    @rule(who=whose, full=st.booleans())
    def disk_is_full_or_not(self, who: str, full: bool) -> None:
        self.rivals.stores[who].problem = "the disk is full" if full else None

    @rule(kind=st.sampled_from(SOURCES), silent=st.booleans())
    def source_falls_silent_or_speaks(self, kind: SourceKind, silent: bool) -> None:
        if silent:
            self.rivals.silent.add(kind)
            self.silent_since.setdefault(kind, self.clock.now())
        else:
            self.rivals.silent.discard(kind)
            self.silent_since.pop(kind, None)

    @rule(unreachable=st.booleans())
    def api_server_goes_or_comes(self, unreachable: bool) -> None:
        self.cluster.unreachable = unreachable

    @rule(layer=st.sampled_from([Layer.NODE, Layer.WORKER]), breaks=st.booleans())
    def answers_to_writes_are_lost_or_come(self, layer: Layer, breaks: bool) -> None:
        self.rivals.levers[layer].breaks = breaks

    @rule(pool=st.integers(0, len(POOLS) - 1), out=st.booleans())
    def pool_is_stocked_out_or_not(self, pool: int, out: bool) -> None:
        self.cluster.pools[pool].stocked_out = out

    @rule(which=st.integers(0, 20), gone=st.booleans())
    def node_drains_or_dies(self, which: int, gone: bool) -> None:
        if self.cluster.nodes:
            node = self.cluster.nodes[which % len(self.cluster.nodes)]
            self.lost += 1
            (self.cluster.remove if gone else self.cluster.reclaim)(node)

    @rule(name=which, count=st.integers(0, MOST_REPLICAS))
    def person_sets_replicas(self, name: DeploymentId, count: int) -> None:
        next(one for one in self.cluster.deployments if one.id == name).set_target(count)
        self.by_others.add(name)

    # What must hold.

    @invariant()
    def every_write_is_the_leaders_and_within_limits(self) -> None:
        if not hasattr(self, "rivals"):
            return
        fresh, self.checked = self.rivals.written[self.checked :], len(self.rivals.written)
        for one in fresh:
            assert one.by == one.leader, f"{one.by} wrote while {one.leader} led"
            if one.layer is Layer.REPLICA:
                assert 1 <= one.wanted <= MOST_REPLICAS
                lowered = one.wanted < one.before
                # A budget that is exceeded is an order, whatever is seen.
                assert not (lowered and self._blind(one.at)) or one.held > BUDGET_GPUS, f"lowered {one} in the dark"
            elif one.layer is Layer.NODE:
                assert one.wanted <= 10, f"{one} is beyond the pool's bounds"

    @invariant()
    def nothing_is_ordered_twice_or_beyond_the_budget(self) -> None:
        if not hasattr(self, "rivals"):
            return
        wanted = sum(pool.wanted for pool in self.cluster.pools)
        assert wanted <= BUDGET_GPUS, f"{wanted} nodes of one GPU wanted: {self.cluster.writes[-3:]}"
        allowed = self.needed + self.lost + self.kept
        assert wanted <= allowed, (
            f"{wanted} nodes wanted; {self.needed} needed or held, {self.lost} lost, {self.kept} kept"
        )

    @invariant()
    def records_are_whole(self) -> None:
        if not hasattr(self, "rivals"):
            return
        failed = [line for line in self.rivals.log.getvalue().splitlines() if '"tick_failed"' in line]
        assert all(DEATH in line for line in failed), failed[-1][-3000:]
        for records in self.rivals.records.values():
            for record in records[-1:]:
                for one in record.deployments:
                    assert one.outcome.status is not OutcomeStatus.PENDING

    def _sees_before_it_lowers(self, record: TickRecord) -> None:
        for one in record.deployments:
            if one.snapshot.blind_spots and one.decision.binding is not Reason.BUDGET:
                assert one.decision.action is not Action.SCALE_DOWN, f"lowers in the dark: {one.decision}"

    def _knows_what_was_ordered(self, record: TickRecord, left: Left | None) -> None:
        """Whoever leads knows every order that the leader before it, or itself, had open."""
        known = {(order.id, order.ordered_at, order.to_replicas) for order in record.ledger}
        for order in () if left is None else left.state.ledger:
            if order.status in OPEN and record.at - order.ordered_at < KEPT_S:
                assert (order.id, order.ordered_at, order.to_replicas) in known, f"forgot {order}"

    def _knows_what_was_set(self, record: TickRecord, by_others: set[DeploymentId]) -> None:
        """What this leader or the one before it set is never taken for a stranger's."""
        if SourceKind.SERVE in self.silent_since:
            return
        for conflict in record.conflicts:
            if conflict.cause == SECOND_WRITER:
                assert conflict.id in by_others, f"took a leader's target for a stranger's: {conflict}"

    def _blind(self, at: float) -> bool:
        return any(at - since > MAX_AGE_S for since in self.silent_since.values())

    def _pass(self, seconds: float) -> None:
        first, *others = self.cluster.deployments
        first.advance(seconds)
        for other in others:
            other.advance(0.0)
        self.cluster.advance()

    def _calm_down(self) -> None:
        """Once all trouble has ended, one controller leads the fleet to where it belongs, and then leaves it alone."""
        self.loads.update({CHAT: 10.0, CODE: 2.0})
        self.rivals.silent.clear()
        self.silent_since.clear()
        self.rivals.shelf.broken = self.cluster.unreachable = False
        for lever in self.rivals.levers.values():
            lever.breaks = False
        for store in self.rivals.stores.values():
            store.problem = None
        for pool in self.cluster.pools:
            pool.stocked_out = False
        for node in [one for one in self.cluster.nodes if one.draining]:
            self.cluster.remove(node)
        self.rivals.lease.pass_to("b")
        created = self.cluster.created.total()
        for _ in range(int(CALM_S / INTERVAL_S)):
            self.tick("b")
            self.every_write_is_the_leaders_and_within_limits()
            self.nothing_is_ordered_twice_or_beyond_the_budget()
            self._pass(INTERVAL_S)

        now = self.clock.now()
        running = {one.id: one.running for one in self.cluster.deployments}
        assert running == {CHAT: 3, CODE: 1}, f"{CALM_S:g} s after all trouble ended: {running}"
        calm = self.rivals.records["b"][-int(CALM_S / INTERVAL_S) :]
        made = self.cluster.created.total() - created
        assert made <= max(_nodes_needed(record) for record in calm), f"{made} nodes made in peace"
        late = [one for one in self.rivals.written if one.at > now - SETTLED_S and one.before != one.wanted]
        assert not late, f"still moving: {late}"
        assert len(self.cluster.nodes) <= sum(running.values()) + 1, [node.name for node in self.cluster.nodes]


def _nodes_needed(record: TickRecord) -> int:
    """Nodes of one GPU that the layer of nodes is to have, by a tick's plan."""
    needs = () if record.cluster is None else record.cluster.needs
    return sum(need.replicas for need in needs if need.layer is Layer.NODE)


def _nodes_needed_or_held(record: TickRecord) -> int:
    """The same, where replicas that are not needed keep their nodes until they may be given up."""
    needs = () if record.cluster is None else record.cluster.needs
    needed = {need.id: need.replicas for need in needs if need.layer is Layer.NODE}
    return sum(max(needed.get(one.decision.id, 0), one.decision.current or 0) for one in record.deployments)


def _nodes_kept(record: TickRecord) -> int:
    """Nodes of one GPU that are too many by a tick's plan, and could not be given up: nothing is lowered unrecorded."""
    if record.cluster is None:
        return 0
    refused = {one.name for one in record.cluster.outcomes if one.status in NOT_DONE and one.layer is Layer.NODE}
    steps = (step for step in record.cluster.steps if step.layer is Layer.NODE and not step.up)
    return sum(step.found - step.wanted for step in steps if step.name in refused)


Fleet.TestCase.settings = settings(
    max_examples=LONG or 3,
    stateful_step_count=30,
    derandomize=not LONG,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, *((Phase.shrink,) if SHRINK else ())),
    suppress_health_check=list(HealthCheck),
)
TestInterleavings = Fleet.TestCase


def test_a_leader_that_cannot_record_tells_the_next_one_what_it_sets() -> None:
    """It is killed in the tick that sets replicas; the next one takes the target for nobody else's."""
    fleet = Fleet()
    try:
        fleet.begin()
        fleet.load_changes(CHAT, 9.0)
        fleet.both_tick_for_a_while(20)
        set_before = len(fleet.rivals.written)
        fleet.disk_is_full_or_not("a", full=True)
        fleet.answers_to_writes_are_lost_or_come(Layer.NODE, breaks=True)
        fleet.load_changes(CHAT, 20.0)
        while not any(one.layer is Layer.REPLICA for one in fleet.rivals.written[set_before:]):
            fleet.tick("a")
            fleet.time_passes(INTERVAL_S)
            assert fleet.clock.now() < START + CALM_S
        fleet.lease_passes("b")
        fleet.tick("b")

        assert not any(record.conflicts for record in fleet.rivals.records["b"])
    finally:
        fleet.runner.close()


async def _from_its_own_memory(succession: Succession, state: PlannerState) -> tuple[Term, PlannerState]:
    leadership = succession._leadership
    assert leadership is not None
    return Term(leadership, leadership.term), state


GUARDS = {
    "the lease is looked at before each write": (
        "controller.loop.leading.Term.standby",
        lambda term: term.problem,
        "wrote while|forgot",
    ),
    "a leader goes on from what the one before it left": (
        "controller.loop.leading.Succession.begin",
        _from_its_own_memory,
        "forgot|stranger",
    ),
    "nothing is lowered in the dark": ("controller.planner.stabilise._unseen", lambda _: None, "in the dark"),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("guard", GUARDS)
def test_the_guard_is_what_holds(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, without, told = GUARDS[guard]
    monkeypatch.setattr(name, without)

    with pytest.raises(AssertionError, match=told):
        run_state_machine_as_test(
            Fleet,
            settings=settings(
                Fleet.TestCase.settings,
                max_examples=40,
                stateful_step_count=30,
                derandomize=True,
                phases=(Phase.generate,),
                report_multiple_bugs=False,
            ),
        )
