"""To zero only when nobody comes, nothing is near and a start keeps its promise; back at the first sign."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.plan import Reason, Step
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory
from controller.planner.decide import PlanInput
from controller.planner.zero import BLIND_S, watched
from controller.policy.model import DeploymentPolicy
from tests.planning import LEAD, NOW, decided, forecast, given, policy, seen, state

IDLE = DeploymentMemory(known_since=0, idle_since=NOW - 900)
UNSEEN = Unknown("HAProxy is stale")
NO_REPLICA = dict.fromkeys((Signal.ONGOING_REQUESTS, Signal.DECODE_TOKENS), Unknown("no replica is RUNNING"))


def rules(**sections: Any) -> DeploymentPolicy:
    zero = {"after_idle_s": 900, "cold_start_promise_s": 60}
    return policy(limits={"min_replicas": 0}, **{"scale_to_zero": zero, **sections})


def idle(target: int = 1, rule: DeploymentPolicy | None = None, lead: LeadTime = LEAD, **changes: Any) -> PlanInput:
    return replace(given(seen(0, target=target, **changes), rule or rules()), lead=lead)


def asleep(**changes: Any) -> PlanInput:
    """At zero: whatever is measured at replicas is unknown."""
    observed = seen(NO_REPLICA, target=0, idle=False, **changes)
    return given(observed, rules())


def outcome(one: PlanInput, memory: DeploymentMemory = IDLE) -> tuple[int | None, Reason]:
    decision, _ = decided(one, state(memory))
    return decision.desired, decision.binding


def test_a_deployment_that_was_idle_for_long_goes_to_zero() -> None:
    assert outcome(idle()) == (0, Reason.IDLE)
    assert outcome(idle(target=3)) == (0, Reason.IDLE)


@pytest.mark.parametrize(
    ("one", "memory", "reason", "why"),
    [
        pytest.param(
            idle(),
            replace(IDLE, idle_since=NOW - 899),
            Reason.IDLE_DELAY,
            "idle for 899 of 900 s",
            id="not-for-long-enough",
        ),
        pytest.param(
            idle(), replace(IDLE, idle_since=None), Reason.IDLE_DELAY, "idle for 0 of 900 s", id="idle-since-now"
        ),
        pytest.param(
            idle(at_the_door=UNSEEN),
            IDLE,
            Reason.BLIND_SPOT,
            "nobody could be seen at the front door (HAProxy is stale)",
            id="nobody-could-be-seen-coming",
        ),
        pytest.param(idle(at_the_door=Known(1)), IDLE, Reason.IDLE_DELAY, "idle for 0 of 900 s", id="somebody-knocks"),
        pytest.param(
            idle(lead=replace(LEAD, p90_s=61)),
            IDLE,
            Reason.COLD_START,
            "a start takes 61 s (p90, measured), promised 60 s",
            id="slower-than-promised",
        ),
        pytest.param(
            idle(lead=replace(LEAD, source=LeadSource.DEFAULT)),
            IDLE,
            Reason.COLD_START,
            "how long a start takes was neither measured nor configured",
            id="start-never-measured",
        ),
        pytest.param(
            idle(
                rule=rules(
                    events=[{"name": "e", "start": "1970-01-01T02:47:00Z", "duration_s": 60, "demand_multiple": 2}]
                )
            ),
            IDLE,
            Reason.SCHEDULE,
            "e is on or begins soon",
            id="an-event-is-near",
        ),
    ],
)
def test_one_replica_stays_where_a_promise_could_not_be_kept(
    one: PlanInput, memory: DeploymentMemory, reason: Reason, why: str
) -> None:
    decision, _ = decided(one, state(memory))
    step = next(step for step in decision.steps if step.stage == "zero")

    assert decision.desired == 1
    assert (step.replicas, step.reason, step.detail) == (1, reason, f"not to zero: {why}")


@pytest.mark.parametrize(
    ("one", "memory", "step"),
    [
        pytest.param(
            idle(),
            IDLE,
            Step("zero", 0, Reason.IDLE, "idle for 900 s; a start takes 40 s (p90), promised 60 s"),
            id="to-zero",
        ),
        pytest.param(
            asleep(at_the_door=Known(0)),
            IDLE,
            Step("zero", 0, Reason.ASLEEP, "nobody is at the front door"),
            id="asleep",
        ),
        pytest.param(
            asleep(at_the_door=UNSEEN),
            replace(IDLE, unseen_since=NOW - 59),
            Step("zero", 0, Reason.ASLEEP, "the front door is unseen for 59 of 60 s"),
            id="unseen",
        ),
        pytest.param(
            asleep(at_the_door=UNSEEN),
            replace(IDLE, unseen_since=NOW - 60),
            Step(
                "zero",
                1,
                Reason.WAKE,
                "nothing runs, and for 60 s it cannot be seen whether somebody comes: HAProxy is stale",
            ),
            id="unseen-for-too-long",
        ),
        pytest.param(
            asleep(at_the_door=Known(2)),
            IDLE,
            Step("zero", 1, Reason.WAKE, "2 at the front door while nothing runs"),
            id="woken",
        ),
        pytest.param(
            replace(idle(target=0), forecasts=(forecast(4),)),
            IDLE,
            Step("zero", 1, Reason.FORECAST, "nobody is at the front door yet"),
            id="foreseen",
        ),
        pytest.param(
            replace(idle(target=0, at_the_door=UNSEEN), forecasts=(forecast(4),)),
            IDLE,
            Step("zero", 1, Reason.FORECAST, "the front door is unseen: HAProxy is stale"),
            id="foreseen-and-unseen",
        ),
    ],
)
def test_the_stage_says_what_it_goes_by(one: PlanInput, memory: DeploymentMemory, step: Step) -> None:
    decision, _ = decided(one, state(memory))

    assert next(found for found in decision.steps if found.stage == "zero") == step


def test_a_measured_start_within_the_promise_is_needed_again_each_time() -> None:
    assert outcome(idle(lead=replace(LEAD, p90_s=60))) == (0, Reason.IDLE)


def test_blindness_never_goes_to_zero_and_starts_the_time_anew() -> None:
    decision, memory = decided(idle(blind_spots=("ray/a is stale",)), state(IDLE))

    assert decision.desired == 1
    assert memory.idle_since is None


def test_nobody_at_the_door_stays_at_zero_although_nothing_else_is_known() -> None:
    assert outcome(asleep(at_the_door=Known(0))) == (0, Reason.ASLEEP)
    assert outcome(idle(target=0, at_the_door=Known(0))) == (0, Reason.ASLEEP)


def test_the_first_sign_of_demand_wakes_without_any_delay() -> None:
    slow = policy(limits={"min_replicas": 0}, stabilisation={"upscale_delay_s": 600, "downscale_delay_s": 0})

    assert outcome(asleep(at_the_door=Known(1))) == (1, Reason.WAKE)
    assert outcome(replace(asleep(at_the_door=Known(1)), policy=slow)) == (1, Reason.WAKE)


def test_many_at_the_door_get_more_than_one() -> None:
    many = given(seen(20, target=0), rules())

    assert outcome(many)[0] == 3


def test_a_door_that_cannot_be_seen_counts_as_a_knock_after_a_while() -> None:
    one = asleep(at_the_door=UNSEEN)

    assert outcome(one) == (0, Reason.ASLEEP)
    assert outcome(one, replace(IDLE, unseen_since=NOW - BLIND_S + 1)) == (0, Reason.ASLEEP)
    assert outcome(one, replace(IDLE, unseen_since=NOW - BLIND_S)) == (1, Reason.WAKE)


def test_a_forecast_wakes_before_anybody_comes() -> None:
    one = replace(idle(target=0), forecasts=(forecast(4),), forecast_unavailable=None)

    assert outcome(one) == (1, Reason.FORECAST)


def test_a_negligible_forecast_neither_wakes_nor_keeps_awake() -> None:
    hardly = {"forecasts": (forecast(0.3),), "forecast_unavailable": None}

    assert outcome(replace(idle(target=0), **hardly)) == (0, Reason.ASLEEP)
    assert outcome(replace(idle(target=1), **hardly)) == (0, Reason.IDLE)
    assert outcome(replace(idle(target=1), forecasts=(forecast(0.4),))) == (1, Reason.STEADY)
    assert outcome(replace(idle(target=0), forecasts=(forecast(0.4),))) == (1, Reason.FORECAST)


def test_an_event_wakes_before_it_begins() -> None:
    event = {"name": "e", "start": "1970-01-01T02:47:00Z", "duration_s": 60, "min_replicas": 2}

    assert outcome(idle(target=0, rule=rules(events=[event]))) == (2, Reason.SCHEDULE)


def test_without_leave_nothing_goes_to_zero() -> None:
    assert outcome(given(seen(0, target=2), policy())) == (1, Reason.AT_MIN)


@pytest.mark.parametrize(
    ("door", "since", "expected"),
    [
        pytest.param(Unknown("stale"), NOW - 50, NOW - 50, id="still-unseen"),
        pytest.param(Unknown("stale"), None, NOW, id="unseen-from-now-on"),
        pytest.param(Unknown("stale"), NOW + 50, NOW, id="the-clock-was-set-back"),
        pytest.param(Known(0.0), NOW - 50, None, id="seen-again"),
        pytest.param(Known(0.0), None, None, id="seen"),
    ],
)
def test_since_when_the_door_is_unseen(door: Reading, since: float | None, expected: float | None) -> None:
    after = watched(DeploymentMemory(unseen_since=since), seen(0, at_the_door=door), now=NOW)

    assert after.unseen_since == expected
