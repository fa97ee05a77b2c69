"""A whole decision: its steps, what it says when it cannot decide, and what it remembers."""

from dataclasses import replace

import pytest

from controller import codec
from controller.domain.capacity import CapacityMemory
from controller.domain.plan import Action, OutcomeStatus, Reason
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.snapshot import NOT_DEPLOYED, StartupSample
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import decide
from tests.planning import NOW, applied, decided, forecast, given, policy, seen, state
from tests.records import CHAT, EMBED
from tests.supplies import ledger, order


def test_a_decision_shows_each_stage_with_its_reason() -> None:
    rules = policy(limits={"max_replicas": 4})

    decision, _ = decided(given(seen(14, target=2), rules, [forecast(50)]))

    assert [(step.stage, step.replicas, step.reason) for step in decision.steps] == [
        ("reactive", 2, Reason.DEMAND),
        ("forecast", 7, Reason.FORECAST),
        ("stabilise", 7, Reason.FORECAST),
        ("limit", 4, Reason.AT_MAX),
    ]
    assert all(step.detail for step in decision.steps)
    assert (decision.action, decision.binding) == (Action.SCALE_UP, Reason.AT_MAX)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param(2, "HEALTHY", id="decided"),
        pytest.param(None, "UNKNOWN", id="held"),
        pytest.param(None, NOT_DEPLOYED, id="gone"),
    ],
)
def test_a_decision_tells_what_it_was_made_from(target: int | None, status: str) -> None:
    one = given(seen(14, target=target, status=status), policy(), [forecast(50)])

    decision, _ = decided(one)

    assert (decision.id, decision.current) == (CHAT, target)
    assert (decision.lead, decision.capacity, decision.forecasts) == (one.lead, one.capacity, one.forecasts)
    assert decided(given(seen(14)))[0].forecast_unavailable == "switched off by the policy"


def test_what_was_applied_ends_what_led_to_it() -> None:
    """Read again before Serve was, the old target is not somebody else's; the next need waits for its own delay."""
    serve = SourceHealth(source="serve", kind=SourceKind.SERVE, age_s=4.0, stale=False)
    observed = seen(40, target=2, sources=(serve,))
    before = DeploymentMemory(known_since=1.0, above_since=NOW - 50, dips=1, foreign_since=NOW - 60, attempted=9)
    plan, planned = decide([given(observed)], state(before), now=NOW)

    done = applied(plan, planned, [observed], now=NOW + 1).memory(CHAT)
    failed = applied(plan, planned, [observed], status=OutcomeStatus.FAILED).memory(CHAT)
    waits = applied(plan, planned, [observed], status=OutcomeStatus.AWAITING).memory(CHAT)

    assert (done.last_set, done.last_set_at, done.last_set_digest) == (5, NOW + 1, "d1")
    assert done.last_set_seen_at == NOW - 4.0
    assert (done.attempted, done.foreign_since, done.above_since, done.dips) == (None, None, None, 0)
    assert (done.known_since, done.recommendations) == (planned.memory(CHAT).known_since, ((NOW, 6),))
    assert failed == replace(planned.memory(CHAT), attempted=5)
    assert waits == replace(planned.memory(CHAT), attempted=None)


def test_an_unknown_target_is_left_alone() -> None:
    decision, memory = decided(given(seen(40, target=None)), state(DeploymentMemory(known_since=1.0, last_set=4)))

    assert (decision.current, decision.desired, decision.action) == (None, None, Action.NONE)
    assert decision.binding is Reason.NO_DATA
    assert (memory.known_since, memory.last_set) == (None, 4)


def test_a_deployment_that_is_gone_is_forgotten_except_how_long_it_takes_to_start() -> None:
    learned = DeploymentMemory(startup_seconds=(30.0,), cold_startup_seconds=(300.0,), capacity=CapacityMemory())
    before = replace(learned, known_since=1.0, last_set=4)

    decision, memory = decided(given(seen(0, target=None, status=NOT_DEPLOYED)), state(before))

    assert (decision.desired, decision.action, decision.binding) == (None, Action.NONE, Reason.NOT_DEPLOYED)
    assert memory == learned


def test_measured_starts_are_remembered() -> None:
    start = StartupSample(id=CHAT, replica_id="r1", ready_at=NOW, seconds=33.0)

    _, memory = decided(given(seen(8, startups=(start,))))

    assert memory.startup_seconds == (33.0,)


def test_what_is_no_longer_planned_is_dropped_from_memory() -> None:
    before = PlannerState(deployments=((CHAT, DeploymentMemory()), (EMBED, DeploymentMemory())))

    _, after = decide([given(seen(8))], before, now=NOW)

    assert [name for name, _ in after.deployments] == [CHAT]


def test_what_was_ordered_of_nodes_is_kept() -> None:
    before = PlannerState(supply=ledger(order(3)))

    plan, after = decide([given(seen(8))], before, now=NOW)
    noted = applied(plan, after, [seen(8)])

    assert after.supply == noted.supply == before.supply


def test_memory_survives_a_checkpoint() -> None:
    _, after = decide([given(seen(8)), given(seen(90, deployment=EMBED))], PlannerState(), now=NOW)

    assert codec.load_state(codec.dump_state(after)) == after
