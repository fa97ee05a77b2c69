"""On the way down: never below what is in flight, and a good moment is waited for, but not for ever."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Decision, Reason, Step
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory
from controller.planner.drain import in_flight_need
from controller.policy.model import DeploymentPolicy
from tests.planning import NOW, decided, given, policy, seen, state


def patient(longest_s: float = 60, **sections: Any) -> DeploymentPolicy:
    delays = {"upscale_delay_s": 0, "downscale_delay_s": 0, "max_drain_wait_s": longest_s}
    return policy(stabilisation=delays, **sections)


def drain(decision: Decision) -> Step | None:
    return next((one for one in decision.steps if one.stage == "drain"), None)


@pytest.mark.parametrize(
    ("streams", "waited_s", "expected", "reason"),
    [
        pytest.param((0.0, 0.0, 6.0, 6.0), 0, 2, Reason.DEMAND, id="idle-ones-go-at-once"),
        pytest.param((0.0, 5.0, 6.0, 6.0), 0, 3, Reason.DEMAND, id="the-idle-one-goes-first"),
        pytest.param((5.0, 0.0, 6.0, 6.0), 0, 4, Reason.DRAIN_WAIT, id="serve-picks-the-busy-one-first"),
        pytest.param((1.0, 1.0, 5.0, 5.0), 10, 4, Reason.DRAIN_WAIT, id="not-quiet-enough-yet"),
        pytest.param((1.0, 1.0, 5.0, 5.0), 20, 2, Reason.DEMAND, id="quiet-enough-after-a-while"),
        pytest.param((9.0, 9.0, 1.0, 1.0), 59, 4, Reason.DRAIN_WAIT, id="busy-until-the-end"),
        pytest.param((9.0, 9.0, 1.0, 1.0), 60, 2, Reason.DEMAND, id="bounded"),
        pytest.param((), 0, 2, Reason.DEMAND, id="not-observed"),
        pytest.param((None, 0.0, 1.0, 1.0), 0, 2, Reason.DEMAND, id="unknown-moments-cannot-be-told-apart"),
        pytest.param((0.0, None, 1.0, 1.0), 0, 3, Reason.DEMAND, id="known-in-part"),
    ],
)
def test_lowering_prefers_moments_with_few_streams(
    streams: tuple[float | None, ...], waited_s: float, expected: int, reason: Reason
) -> None:
    one = given(seen(12, target=4, stop_streams=streams), patient())

    decision, _ = decided(one, state(DeploymentMemory(known_since=0, drain_since=NOW - waited_s)))

    assert (decision.desired, decision.binding) == (expected, reason)


@pytest.mark.parametrize(
    ("streams", "waited_s", "longest_s", "detail"),
    [
        pytest.param((3.0, 4.0, 2.0, 3.0), 0, 0, "about 7 requests run on the next 2 to stop", id="without-patience"),
        pytest.param((0.0, 0.0, 6.0, 6.0), 0, 60, "about 0 requests run on the next 2 to stop", id="at-once"),
        pytest.param((9.0, 9.0, 1.0, 1.0), 60, 60, "about 18 requests run on the next 2 to stop", id="waited-enough"),
        pytest.param(
            (9.0, 9.0, 1.0, 1.0),
            59,
            60,
            "about 18 requests run on the next 2 to stop; waited 59 of 60 s for fewer than usual (5.0 each)",
            id="waits",
        ),
        pytest.param(
            (0.0, 5.0, 6.0, 6.0), 0, 60, "about 0 requests run on the next 1 to stop; the rest waits", id="in-part"
        ),
        pytest.param(
            (0.0, None, 1.0, 1.0),
            0,
            60,
            "about 0 requests run on the next 1 to stop; the rest waits",
            id="known-in-part",
        ),
        pytest.param((), 0, 60, "requests on those that stop are unknown", id="unknown"),
    ],
)
def test_the_streams_that_may_be_cut_are_told(
    streams: tuple[float | None, ...], waited_s: float, longest_s: float, detail: str
) -> None:
    one = given(seen(12, target=4, stop_streams=streams), patient(longest_s))

    decision, memory = decided(one, state(DeploymentMemory(known_since=0, drain_since=NOW - waited_s)))

    step = drain(decision)
    assert step is not None
    assert step.detail == detail
    assert memory.drain_since == NOW - waited_s


def test_the_wait_begins_when_fewer_first_would_do() -> None:
    one = given(seen(12, target=4, stop_streams=(9.0,) * 4), patient())

    assert decided(one)[1].drain_since == NOW
    assert decided(one, state(DeploymentMemory(known_since=0, drain_since=NOW + 5)))[1].drain_since == NOW


def test_the_wait_begins_anew_once_nothing_is_to_be_lowered() -> None:
    waiting = state(DeploymentMemory(known_since=0, drain_since=NOW - 50))

    _, memory = decided(given(seen(32, target=4, stop_streams=(8.0,) * 4), patient()), waiting)

    assert memory.drain_since is None


def test_never_below_what_is_in_flight_although_work_would_allow_it() -> None:
    rules = patient(per_replica={"decode_tokens_per_s": 100})
    light = {Signal.ONGOING_REQUESTS: Known(20), Signal.DECODE_TOKENS: Known(1)}
    one = given(seen(light, target=5), rules)
    by_tokens = {Signal.DECODE_TOKENS: 100.0}
    decision, _ = decided(replace(one, capacity=replace(one.capacity, per_replica=by_tokens)))

    step = drain(decision)
    assert step is not None
    assert (decision.desired, step.reason) == (3, Reason.IN_FLIGHT)
    assert step.detail == "20.0 in flight / 8 at once per replica → 3; requests on those that stop are unknown"


@pytest.mark.parametrize(
    ("learned", "need"),
    [pytest.param(16.0, 2, id="more"), pytest.param(4.0, 3, id="fewer"), pytest.param(None, 3, id="not")],
)
def test_a_replica_runs_as_many_at_once_as_was_learned_if_that_is_more(learned: float | None, need: int) -> None:
    one = given(seen(20, target=5))
    per_replica = {} if learned is None else {Signal.ONGOING_REQUESTS: learned}

    assert in_flight_need(one.snapshot, replace(one.capacity, per_replica=per_replica), one.policy) == need


def test_unknown_requests_in_flight_never_lower() -> None:
    one = given(seen({Signal.ONGOING_REQUESTS: Unknown("stale"), Signal.DECODE_TOKENS: Known(1)}, target=5), patient())

    decision, _ = decided(replace(one, capacity=replace(one.capacity, per_replica={Signal.DECODE_TOKENS: 100.0})))

    assert (decision.desired, decision.binding) == (5, Reason.NO_DATA)
    assert drain(decision) == Step("drain", 5, Reason.NO_DATA, "hold 5: requests in flight are unknown")


def test_as_many_in_flight_as_run_hold_all() -> None:
    """By the work of it one replica would do; the requests fill all five, and then some."""
    light = {Signal.ONGOING_REQUESTS: Known(99), Signal.DECODE_TOKENS: Known(1)}
    one = given(seen(light, target=5), patient())
    waiting = state(DeploymentMemory(known_since=0, drain_since=NOW - 50))

    decision, memory = decided(
        replace(one, capacity=replace(one.capacity, per_replica={Signal.DECODE_TOKENS: 100.0})), waiting
    )

    assert drain(decision) == Step("drain", 5, Reason.IN_FLIGHT, "99.0 in flight / 8 at once per replica → 13")
    assert memory.drain_since is None


def test_raising_has_no_such_step() -> None:
    decision, _ = decided(given(seen(80, target=4, stop_streams=(8.0,) * 4), patient()))

    assert drain(decision) is None
    assert decision.desired == 10
