"""Announced events raise the floor one lead time before they begin, and let it go after them."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Decision, Reason, Step
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import decide
from controller.policy.model import DeploymentPolicy
from tests.planning import NOW, SimulatedDeployment, decided, given, policy, seen, state

AHEAD_S = 45
"""P95 of the lead time in these tests."""


def rules(*events: dict[str, Any], **sections: Any) -> DeploymentPolicy:
    return policy(events=[{"name": "launch", "duration_s": 600, **event} for event in events], **sections)


def starting_in(seconds: float, **effect: Any) -> dict[str, Any]:
    return {"start": dt.datetime.fromtimestamp(NOW + seconds, dt.UTC).isoformat(), **effect}


def step(decision: Decision) -> Step:
    return next(one for one in decision.steps if one.stage == "schedule")


@pytest.mark.parametrize(
    ("starts_in_s", "expected"),
    [
        pytest.param(AHEAD_S + 1, 2, id="too-early"),
        pytest.param(AHEAD_S, 6, id="one-lead-time-before"),
        pytest.param(0, 6, id="at-its-start"),
        pytest.param(-599, 6, id="near-its-end"),
        pytest.param(-600, 2, id="over"),
    ],
)
def test_a_floor_holds_from_one_lead_time_before_until_the_end(starts_in_s: float, expected: int) -> None:
    one = given(seen(16), rules(starting_in(starts_in_s, min_replicas=6)))

    decision, _ = decided(one)

    assert decision.desired == expected
    assert step(decision).reason is (Reason.SCHEDULE if expected == 6 else Reason.DEMAND)


def test_the_delays_and_steps_on_the_way_are_allowed_for() -> None:
    slow = rules(
        starting_in(AHEAD_S + 20 + 2 * 10, min_replicas=6),
        limits={"max_step_up": 5},
        stabilisation={"upscale_delay_s": 20, "downscale_delay_s": 0},
    )
    assert step(decided(replace(given(seen(16), slow), interval_s=10))[0]).replicas == 6
    assert step(decided(replace(given(seen(16), slow), interval_s=9))[0]).replicas == 2


def test_a_multiple_is_of_the_demand_before_the_event() -> None:
    launch = rules(starting_in(30, demand_multiple=3))
    before, memory = decided(given(seen(16), launch))

    during, after = decided(given(seen(40, target=6), launch), state(memory), now=NOW + 60)

    assert before.desired == 6
    assert during.desired == 6
    assert after.usual_load == 2.0


def test_extra_load_comes_on_top_and_events_add_up() -> None:
    both = rules(
        starting_in(10, extra_load={"ongoing_requests": 20}),
        starting_in(20, extra_load={"ongoing_requests": 12}),
        starting_in(-60, min_replicas=3),
    )

    decision, _ = decided(given(seen(8), both), state(DeploymentMemory(usual_load=1.0, usual_load_at=NOW)))

    assert step(decision).replicas == 5
    assert "in 20 s" in step(decision).detail


def test_without_a_past_an_event_that_is_on_still_adds_what_it_says() -> None:
    one = given(seen(8), rules(starting_in(-10, demand_multiple=3, extra_load={"ongoing_requests": 20})))

    decision, memory = decided(one)

    assert step(decision).replicas == 3
    assert "not seen yet" in step(decision).detail
    assert memory.usual_load is None


def test_several_signals_of_extra_load_describe_the_same_requests() -> None:
    extra = {"ongoing_requests": 16, "decode_tokens_per_s": 50}
    one = given(
        seen({Signal.ONGOING_REQUESTS: Known(0), Signal.DECODE_TOKENS: Known(0)}),
        rules(starting_in(0, extra_load=extra), per_replica={"decode_tokens_per_s": 10}),
    )

    assert step(decided(one)[0]).replicas == 5


def test_what_is_announced_needs_no_demand_to_be_known() -> None:
    decision, _ = decided(given(seen(Unknown("stale")), rules(starting_in(0, min_replicas=5))))

    assert (decision.desired, decision.binding) == (5, Reason.SCHEDULE)


def test_a_floor_never_lowers() -> None:
    decision, _ = decided(given(seen(Unknown("stale"), target=7), rules(starting_in(0, min_replicas=5))))

    assert (decision.desired, decision.binding) == (7, Reason.NO_DATA)


def test_limits_bound_what_is_announced() -> None:
    one = given(seen(8), rules(starting_in(0, demand_multiple=1000)))

    decision, _ = decided(one, state(DeploymentMemory(usual_load=1.0, usual_load_at=NOW)))

    assert (decision.desired, decision.binding) == (10, Reason.AT_MAX)


def test_without_events_there_is_no_such_step() -> None:
    plan, _ = decide([given(seen(8))], PlannerState(), now=NOW)

    assert [one.stage for one in plan.decisions[0].steps] == ["reactive", "forecast", "stabilise", "limit"]


def test_replicas_are_ready_when_a_window_begins_and_are_given_back_after_it() -> None:
    window = {"name": "window", "cron": "10 0 * * *", "duration_s": 300, "min_replicas": 5}
    deployment = SimulatedDeployment(
        lambda _at: 6,
        policy(
            events=[window],
            stabilisation={"upscale_delay_s": 0, "downscale_delay_s": 60},
            forecast={"enabled": False},
        ),
        start_s=40,
    )

    deployment.run(1200)

    serving = [ready for index, ready in enumerate(deployment.ready) if 600 <= index * deployment.tick_s < 900]
    assert set(serving) == {5}
    assert deployment.targets[: int(500 / deployment.tick_s)] == [1] * int(500 / deployment.tick_s)
    assert deployment.targets[-1] == 1
    assert deployment.changes[0][0] >= 540
    assert 950 <= deployment.changes[-1][0] <= 990
