"""A whole decision: its steps, what it says when it cannot decide, and what it remembers."""

from controller import codec
from controller.domain.plan import Action, Reason
from controller.domain.snapshot import NOT_DEPLOYED, StartupSample
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import decide
from tests.planning import NOW, decided, forecast, given, policy, seen, state
from tests.records import CHAT, EMBED


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


def test_an_unknown_target_is_left_alone() -> None:
    decision, memory = decided(given(seen(40, target=None)), state(DeploymentMemory(known_since=1.0, last_set=4)))

    assert (decision.current, decision.desired, decision.action) == (None, None, Action.NONE)
    assert decision.binding is Reason.NO_DATA
    assert (memory.known_since, memory.last_set) == (None, 4)


def test_a_deployment_that_is_gone_is_forgotten_except_how_long_it_takes_to_start() -> None:
    before = DeploymentMemory(known_since=1.0, last_set=4, startup_seconds=(30.0,))

    decision, memory = decided(given(seen(0, target=None, status=NOT_DEPLOYED)), state(before))

    assert (decision.desired, decision.action, decision.binding) == (None, Action.NONE, Reason.NOT_DEPLOYED)
    assert memory == DeploymentMemory(startup_seconds=(30.0,))


def test_measured_starts_are_remembered() -> None:
    start = StartupSample(id=CHAT, replica_id="r1", ready_at=NOW, seconds=33.0)

    _, memory = decided(given(seen(8, startups=(start,))))

    assert memory.startup_seconds == (33.0,)


def test_what_is_no_longer_planned_is_dropped_from_memory() -> None:
    before = PlannerState(deployments=((CHAT, DeploymentMemory()), (EMBED, DeploymentMemory())))

    _, after = decide([given(seen(8))], before, now=NOW)

    assert [name for name, _ in after.deployments] == [CHAT]


def test_memory_survives_a_checkpoint() -> None:
    _, after = decide([given(seen(8)), given(seen(90, deployment=EMBED))], PlannerState(), now=NOW)

    assert codec.load_state(codec.dump_state(after)) == after
