"""On the way down: never below what is in flight, and a good moment is waited for, but not for ever."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Decision, Reason, Step
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.state import DeploymentMemory
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


def test_the_streams_that_may_be_cut_are_told() -> None:
    decision, _ = decided(given(seen(12, target=4, stop_streams=(3.0, 4.0, 2.0, 3.0)), patient(0)))

    step = drain(decision)
    assert step is not None
    assert step.detail == "about 7 requests run on the next 2 to stop"


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


def test_unknown_requests_in_flight_never_lower() -> None:
    one = given(seen({Signal.ONGOING_REQUESTS: Unknown("stale"), Signal.DECODE_TOKENS: Known(1)}, target=5), patient())

    decision, _ = decided(replace(one, capacity=replace(one.capacity, per_replica={Signal.DECODE_TOKENS: 100.0})))

    assert (decision.desired, decision.binding) == (5, Reason.NO_DATA)


def test_raising_has_no_such_step() -> None:
    decision, _ = decided(given(seen(80, target=4, stop_streams=(8.0,) * 4), patient()))

    assert drain(decision) is None
    assert decision.desired == 10
