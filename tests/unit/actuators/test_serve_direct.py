"""Direct mode against a stand-in of Serve: what is written, what is refused, what is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.actuators.serve_direct import ServeDirectActuator, Timing
from controller.actuators.serve_guards import outside_limits
from controller.clients.serve import ServeClient
from controller.clock import SystemClock
from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Capacity, CapacitySource, Decision, OutcomeStatus, Reason
from tests.serve_rest import CHAT, Fault, ServeRestStandIn

QUICK = Timing(deadline_s=4.0, attempt_s=0.5, backoff_s=0.01, settle_s=0.1, read_back_s=0.4, poll_s=0.03)
TOKEN = "correct-horse-battery-staple"

Build = Callable[..., ServeDirectActuator]


class WaitingClock(SystemClock):
    """Remembers how long was waited."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await super().sleep(seconds)


def decision(
    current: int | None, desired: int | None, *, of: DeploymentId = CHAT, action: Action | None = None
) -> Decision:
    return Decision(
        id=of,
        current=current,
        desired=desired,
        action=action or (Action.SCALE_UP if (desired or 0) > (current or 0) else Action.SCALE_DOWN),
        binding=Reason.DEMAND,
        steps=(),
        lead=LeadTime(p50_s=30, p90_s=40, p95_s=45, source=LeadSource.DEFAULT, samples=0),
        capacity=Capacity(per_replica={}, source=CapacitySource.POLICY),
    )


@pytest.fixture
async def serve() -> AsyncIterator[ServeRestStandIn]:
    async with ServeRestStandIn() as started:
        yield started


@pytest.fixture
async def build(serve: ServeRestStandIn) -> AsyncIterator[Build]:
    async with aiohttp.ClientSession() as session:

        def actuator(*, timing: Timing = QUICK, limits=lambda _: (0, 4), token: str | None = None, base_url: str = ""):
            client = ServeClient(base_url=base_url or serve.base_url, session=session, token=token)
            return ServeDirectActuator(client=client, clock=SystemClock(), limits=limits, timing=timing)

        yield actuator


@pytest.mark.parametrize(
    ("before", "action"),
    [(1, Action.SCALE_UP), (4, Action.SCALE_DOWN), (1, Action.REASSERT)],
    ids=["up", "down", "again after a redeploy"],
)
async def test_a_target_is_written_and_read_back(serve: ServeRestStandIn, build: Build, before: int, action: Action):
    serve.set_target(before)

    outcome = await build().apply(decision(before, 2, action=action))

    assert serve.target() == 2
    assert outcome.id == CHAT
    assert outcome.status is OutcomeStatus.APPLIED
    assert outcome.detail == f"target {before} → 2"
    assert outcome.attempts == 1
    assert QUICK.settle_s <= outcome.duration_s < QUICK.deadline_s


@pytest.mark.parametrize(
    "idle", [decision(1, 1, action=Action.NONE), decision(1, None)], ids=["no action", "no opinion"]
)
async def test_nothing_to_do_asks_nobody(serve: ServeRestStandIn, build: Build, idle: Decision):
    outcome = await build().apply(idle)

    assert outcome.status is OutcomeStatus.NOTHING_TO_DO
    assert serve.calls == []


async def test_applying_the_same_decision_twice_writes_once(serve: ServeRestStandIn, build: Build):
    actuator = build()

    first = await actuator.apply(decision(1, 2))
    second = await actuator.apply(decision(1, 2))

    assert [first.status, second.status] == [OutcomeStatus.APPLIED] * 2
    assert second.attempts == 0
    assert len(serve.scale_calls) == 1


# Guards


@pytest.mark.parametrize(
    ("wanted", "limits", "reason"),
    [
        (5, (1, 4), "5 is above the policy's max_replicas (4)"),
        (200, (1, 4), "200 is above the policy's max_replicas (4)"),
        (0, (1, 4), "0 is below the policy's min_replicas (1)"),
        (2, None, "the policy has no limits for it"),
    ],
)
async def test_a_wrong_plan_does_not_get_past_the_limits(
    serve: ServeRestStandIn, build: Build, wanted: int, limits: tuple[int, int] | None, reason: str
):
    outcome = await build(limits=lambda _: limits).apply(decision(1, wanted, action=Action.SCALE_UP))

    assert outcome.status is OutcomeStatus.REFUSED
    assert reason in outcome.detail
    assert serve.calls == []


@given(wanted=st.integers(-10, 300), lowest=st.integers(0, 100), span=st.integers(0, 100))
def test_exactly_the_targets_within_the_limits_pass(wanted: int, lowest: int, span: int):
    passes = outside_limits(wanted, (lowest, lowest + span)) is None

    assert passes == (lowest <= wanted <= lowest + span)


async def test_limits_that_fail_refuse_rather_than_pass(serve: ServeRestStandIn, build: Build):
    def broken(_: DeploymentId) -> tuple[int, int]:
        msg = "no policy loaded"
        raise RuntimeError(msg)

    outcome = await build(limits=broken).apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.FAILED
    assert "no policy loaded" in outcome.detail
    assert serve.calls == []


async def test_an_application_without_external_scaling_is_left_alone_with_the_fix(
    serve: ServeRestStandIn, build: Build
):
    serve.application()["external_scaler_enabled"] = False

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.REFUSED
    assert "external_scaler_enabled: true" in outcome.detail
    assert serve.scale_calls == []


async def test_a_deployment_with_its_own_autoscaling_is_left_alone_with_the_fix(serve: ServeRestStandIn, build: Build):
    serve.enable_autoscaling()

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.REFUSED
    assert "num_replicas" in outcome.detail
    assert serve.scale_calls == []


@pytest.mark.parametrize("missing", [DeploymentId("chat", "Gone"), DeploymentId("gone", "LLMServer:tiny")], ids=str)
async def test_a_deployment_that_is_gone_is_refused(serve: ServeRestStandIn, build: Build, missing: DeploymentId):
    outcome = await build().apply(decision(1, 2, of=missing))

    assert outcome.status is OutcomeStatus.REFUSED
    assert outcome.detail == f"{missing} is not deployed"
    assert serve.scale_calls == []


async def test_a_target_that_somebody_changed_meanwhile_is_not_overwritten(serve: ServeRestStandIn, build: Build):
    serve.set_target(3)

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.REFUSED
    assert outcome.detail == "target changed from 1 to 3 since it was read; will re-plan"
    assert serve.target() == 3
    assert serve.scale_calls == []


async def test_a_decision_made_without_knowing_the_target_is_not_written(serve: ServeRestStandIn, build: Build):
    outcome = await build().apply(decision(None, 2))

    assert outcome.status is OutcomeStatus.REFUSED
    assert serve.scale_calls == []


async def test_a_target_that_serve_does_not_report_is_not_overwritten(serve: ServeRestStandIn, build: Build):
    del serve.deployment()["target_num_replicas"]

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.REFUSED
    assert outcome.detail == "Serve reports no target"


# Refusals and failures of Serve


@pytest.mark.parametrize("token", [None, "wrong-secret"])
async def test_a_refused_token_is_not_retried_and_names_its_setting(token: str | None):
    async with ServeRestStandIn(token=TOKEN) as serve, aiohttp.ClientSession() as session:
        client = ServeClient(base_url=serve.base_url, session=session, token=token)
        actuator = ServeDirectActuator(client=client, clock=SystemClock(), limits=lambda _: (0, 4), timing=QUICK)

        outcome = await actuator.apply(decision(1, 2))

        assert outcome.status is OutcomeStatus.REFUSED
        assert "FORESERVE_SERVE_TOKEN" in outcome.detail
        assert "wrong-secret" not in repr(outcome)
        assert len(serve.calls) == 1


async def test_a_refused_write_is_not_retried(serve: ServeRestStandIn, build: Build):
    serve.delete(CHAT)

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.REFUSED
    assert "Deployment is deleted" in outcome.detail
    assert outcome.attempts == 1
    assert len(serve.scale_calls) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, text="Serve controller is not available"),
        Fault(status=500),
        Fault(drop=True),
        Fault(hang=True),
    ],
    ids=["503", "500", "dropped", "hanging"],
)
async def test_a_write_that_fails_twice_succeeds_at_the_third_attempt(
    serve: ServeRestStandIn, build: Build, fault: Fault
):
    serve.fail(fault, method="POST", times=2)

    outcome = await build(timing=replace(QUICK, attempt_s=0.2)).apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.APPLIED
    assert outcome.attempts == 3
    assert len(serve.scale_calls) == 3
    assert serve.target() == 2


async def test_attempts_are_bounded_and_wait_a_random_and_growing_while_between_them(serve: ServeRestStandIn):
    serve.fail(Fault(status=503, text="Serve controller is not available"), method="POST")
    clock = WaitingClock()
    timing = Timing(backoff_s=0.02)

    async with aiohttp.ClientSession() as session:
        client = ServeClient(base_url=serve.base_url, session=session)
        actuator = ServeDirectActuator(client=client, clock=clock, limits=lambda _: (0, 4), timing=timing)
        outcomes = [await actuator.apply(decision(1, 2)) for _ in range(5)]

    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.FAILED}
    assert {outcome.attempts for outcome in outcomes} == {3}
    assert "Serve controller is not available; the target is 1" in outcomes[0].detail.replace(")", "")
    assert len(serve.scale_calls) == 15
    assert all(0 <= wait <= 0.02 for wait in clock.waits[::2])
    assert all(0 <= wait <= 0.04 for wait in clock.waits[1::2])
    assert len(set(clock.waits)) == 10


async def test_a_first_read_that_fails_is_tried_again(serve: ServeRestStandIn, build: Build):
    serve.fail(Fault(status=503), method="GET", times=1)

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.APPLIED


async def test_nothing_is_written_when_the_state_cannot_be_read(serve: ServeRestStandIn, build: Build):
    serve.fail(Fault(body=b"garbage"), method="GET")

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.attempts == 0
    assert serve.scale_calls == []


async def test_a_write_whose_answer_is_lost_counts_when_it_is_read_back(serve: ServeRestStandIn, build: Build):
    serve.fail(Fault(applied=True, drop=True), method="POST")

    outcome = await build().apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.APPLIED
    assert serve.target() == 2


@pytest.mark.parametrize("method", ["GET", "POST", "*"])
async def test_a_hanging_server_does_not_hold_a_tick_beyond_the_deadline(
    serve: ServeRestStandIn, build: Build, method: str
):
    serve.fail(Fault(hang=True), method=method)
    timing = Timing(deadline_s=0.4, attempt_s=0.3, backoff_s=0.01, settle_s=0.05, read_back_s=0.2)

    outcome = await build(timing=timing).apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.detail == "not confirmed within 0.4 s"
    assert outcome.duration_s < 2.0


def test_by_default_a_write_takes_a_few_seconds_at_most():
    assert Timing().deadline_s <= 4.0


async def test_a_server_that_is_gone_is_a_failure(build: Build):
    async with ServeRestStandIn() as gone:
        actuator = build(base_url=gone.base_url)

    outcome = await actuator.apply(decision(1, 2))

    assert outcome.status is OutcomeStatus.FAILED
    assert "cannot be reached" in outcome.detail
    assert await actuator.read_state() is None


# Read-back


@pytest.mark.parametrize("after_s", [0.0, 0.04, 0.08])
async def test_a_target_that_the_built_in_autoscaler_undoes_is_a_failure(
    serve: ServeRestStandIn, build: Build, after_s: float
):
    serve.revert_after_s = after_s

    outcome = await build().apply(decision(1, 3))

    assert outcome.status is OutcomeStatus.FAILED
    assert "Serve accepted 3" in outcome.detail
    assert "num_replicas" in outcome.detail
    assert serve.target() == 1


async def test_an_accepted_write_without_effect_is_a_failure(serve: ServeRestStandIn, build: Build):
    serve.fail(Fault(body=b'{"message": "Scaling request received."}'), method="POST")

    outcome = await build().apply(decision(1, 3))

    assert outcome.status is OutcomeStatus.FAILED
    assert "Serve accepted 3, but the target is 1" in outcome.detail


async def test_an_effect_that_comes_late_is_waited_for(serve: ServeRestStandIn, build: Build):
    serve.fail(Fault(body=b"{}"), method="POST")
    asyncio.get_running_loop().call_later(0.15, serve.set_target, 3)

    outcome = await build().apply(decision(1, 3))

    assert outcome.status is OutcomeStatus.APPLIED


async def test_a_read_back_that_fails_once_is_repeated(serve: ServeRestStandIn, build: Build):
    actuator = build()
    serve.fail(Fault(body=b"{}"), method="POST")
    write = asyncio.ensure_future(actuator.apply(decision(1, 2)))
    while not serve.scale_calls:
        serve.called.clear()
        await serve.called.wait()
    serve.fail(Fault(status=503), method="GET", times=1)
    serve.set_target(2)

    assert (await write).status is OutcomeStatus.APPLIED


async def test_a_write_that_cannot_be_read_back_says_so(serve: ServeRestStandIn, build: Build):
    write = asyncio.ensure_future(build().apply(decision(1, 2)))
    while not serve.scale_calls:
        serve.called.clear()
        await serve.called.wait()
    serve.fail(Fault(status=503, text="GCS may be down"), method="GET")

    outcome = await write

    assert outcome.status is OutcomeStatus.FAILED
    assert "cannot be read back" in outcome.detail
    assert "GCS may be down" in outcome.detail


async def test_a_redeploy_that_reset_the_target_is_written_over_by_the_next_plan(serve: ServeRestStandIn, build: Build):
    actuator = build()
    await actuator.apply(decision(1, 2))
    serve.redeploy(max_ongoing_requests=99)

    stale = await actuator.apply(decision(2, 3))
    again = await actuator.apply(decision(1, 2, action=Action.REASSERT))

    assert stale.status is OutcomeStatus.REFUSED
    assert stale.detail.startswith("target changed from 2 to 1")
    assert again.status is OutcomeStatus.APPLIED
    assert serve.target() == 2


# At the same time


async def test_one_failing_deployment_leaves_the_other_alone(serve: ServeRestStandIn, build: Build):
    other = DeploymentId("search", "LLMServer:tiny")
    serve.add_deployment(other)
    serve.application("search")["external_scaler_enabled"] = False
    actuator = build()

    outcomes = await asyncio.gather(actuator.apply(decision(1, 2, of=other)), actuator.apply(decision(1, 3)))

    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.REFUSED, OutcomeStatus.APPLIED]
    assert (serve.target(other), serve.target()) == (1, 3)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_cancellation_ends_a_write_at_once(serve: ServeRestStandIn, build: Build, method: str):
    serve.fail(Fault(hang=True), method=method)
    write = asyncio.ensure_future(build().apply(decision(1, 2)))
    while not any(call.method == method for call in serve.calls):
        serve.called.clear()
        await serve.called.wait()

    write.cancel()

    with pytest.raises(asyncio.CancelledError):
        await write
    assert serve.target() == 1


async def test_the_state_can_be_read_for_the_re_check(serve: ServeRestStandIn, build: Build):
    serve.set_target(4)

    state = await build().read_state()

    assert state is not None
    deployment = state.deployment(CHAT)
    assert deployment is not None
    assert deployment.target_replicas == 4
