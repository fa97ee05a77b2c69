"""Guided mode: floors are published and handed out with their age, and Serve is watched whether it follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import aiohttp
import pytest

from controller.actuators.preflight import CheckStatus, check_serve
from controller.actuators.serve_guards import GUIDED_POLICY
from controller.actuators.serve_guided import FloorBoard, GuidedTiming, ServeGuidedActuator
from controller.clients.serve import ServeClient
from controller.clients.serve_answer import read_applications
from controller.clock import SystemClock
from controller.domain.plan import Action, Outcome, OutcomeStatus
from controller.policy.model import Mode
from serving.guided import POLICY
from tests.clocks import VirtualClock
from tests.serve_rest import CHAT, ServeRestStandIn
from tests.unit.actuators.test_preflight import policy
from tests.unit.actuators.test_serve_direct import decision


def guided(serve: ServeRestStandIn, **more: object) -> None:
    config = {
        "min_replicas": 1,
        "max_replicas": 4,
        "upscale_delay_s": 0.0,
        "policy": {"policy_function": GUIDED_POLICY},
    }
    serve.deployment()["deployment_config"]["autoscaling_config"] = config | more
    serve.application()["external_scaler_enabled"] = False


@pytest.fixture
async def world() -> AsyncIterator[SimpleNamespace]:
    async with ServeRestStandIn() as serve, aiohttp.ClientSession() as session:
        guided(serve)
        board = FloorBoard(SystemClock())
        client = ServeClient(base_url=serve.base_url, session=session)
        timing = GuidedTiming(within_s=0.5, poll_s=0.02)
        actuator = ServeGuidedActuator(
            client=client, clock=SystemClock(), board=board, limits=lambda _: (1, 4), timing=timing
        )
        yield SimpleNamespace(serve=serve, board=board, actuator=actuator)


def floors(board: FloorBoard) -> dict[str, int]:
    return {str(one.id): one.replicas for one in board.read()}


def test_both_sides_name_the_same_policy() -> None:
    assert POLICY == GUIDED_POLICY


async def test_a_floor_that_serve_follows_is_applied(world: SimpleNamespace) -> None:
    world.serve.set_target(1)
    applying = asyncio.create_task(world.actuator.apply(decision(1, 3)))
    while world.board.floor(CHAT) is None:  # noqa: ASYNC110 - a condition, awaited
        await asyncio.sleep(0.01)
    world.serve.set_target(3)

    outcome = await applying

    assert outcome.status is OutcomeStatus.APPLIED
    assert "floor 3; Serve's target 1 → 3" in outcome.detail
    assert not world.serve.scale_calls


async def test_a_floor_that_nobody_asks_for_fails_and_says_why(world: SimpleNamespace) -> None:
    world.serve.set_target(1)

    outcome = await world.actuator.apply(decision(1, 3))

    assert outcome.status is OutcomeStatus.FAILED
    assert "nobody has asked for it: set guided.controller_url" in outcome.detail
    assert floors(world.board) == {str(CHAT): 3}


async def test_serve_may_hold_more_than_the_floor(world: SimpleNamespace) -> None:
    world.serve.set_target(4)

    first = await world.actuator.apply(decision(4, 2))
    again = await world.actuator.apply(decision(4, 2))

    assert (first.status, again.status) == (OutcomeStatus.APPLIED, OutcomeStatus.NOTHING_TO_DO)
    assert floors(world.board) == {str(CHAT): 2}


@pytest.mark.parametrize(
    ("wanted", "config", "said"),
    [
        (9, {}, "above the policy's max_replicas"),
        (
            3,
            {"policy": {"policy_function": "ray.serve:default"}},
            "Serve scales it by ray.serve:default; for mode guided",
        ),
    ],
)
async def test_what_would_reach_nobody_is_refused(world: SimpleNamespace, wanted: int, config: dict, said: str) -> None:
    guided(world.serve, **config)

    outcome = await world.actuator.apply(decision(1, wanted))

    assert outcome.status is OutcomeStatus.REFUSED
    assert said in outcome.detail
    assert floors(world.board) == {}


def record(mode: str, *outcomes: tuple[int | None, OutcomeStatus], leads: bool | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        mode=mode,
        leading=None if leads is None else SimpleNamespace(leads=leads),
        deployments=[
            SimpleNamespace(decision=decision(1, desired, action=Action.NONE), outcome=Outcome(id=CHAT, status=status))
            for desired, status in outcomes
        ],
    )


def test_a_floor_is_meant_anew_by_each_tick_and_grows_old_without_one() -> None:
    clock = VirtualClock()
    board = FloorBoard(clock)
    board.export(record("guided", (3, OutcomeStatus.NOTHING_TO_DO)))
    clock.advance(7)
    (aged,) = board.read()
    board.export(record("guided", (None, OutcomeStatus.NOTHING_TO_DO)))
    (kept,) = board.read()
    board.export(record("guided", (2, OutcomeStatus.APPLIED)))
    (anew,) = board.read()

    assert (aged.replicas, aged.age_s) == (3, 7)
    assert (kept.replicas, kept.age_s) == (3, 7)
    assert (anew.replicas, anew.age_s) == (2, 0)


def test_a_controller_that_does_not_lead_has_no_floors() -> None:
    board = FloorBoard(VirtualClock())
    board.export(record("guided", (3, OutcomeStatus.NOTHING_TO_DO), leads=True))
    assert floors(board) == {str(CHAT): 3}

    board.export(record("guided", (3, OutcomeStatus.NOTHING_TO_DO), leads=False))
    assert board.read() == ()


def test_a_refused_decision_is_no_floor_and_another_mode_has_none() -> None:
    board = FloorBoard(VirtualClock())
    board.export(record("guided", (3, OutcomeStatus.REFUSED)))
    assert board.read() == ()

    board.publish(CHAT, 3)
    board.export(record("advisory", (3, OutcomeStatus.ADVISED)))
    assert board.read() == ()


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        ({}, {}),
        ({"policy": {}}, {"chat/LLMServer:tiny: guided": CheckStatus.FAIL}),
        ({"max_replicas": 3}, {"chat/LLMServer:tiny: bounds": CheckStatus.WARN}),
        ({"upscale_delay_s": 30.0}, {"chat/LLMServer:tiny: delay": CheckStatus.WARN}),
    ],
)
def test_preflight_looks_at_serves_own_autoscaling(config: dict, problems: dict[str, CheckStatus]) -> None:
    serve = ServeRestStandIn()
    guided(serve, **config)
    wanted = policy().model_copy(update={"mode": Mode.GUIDED})

    found = check_serve(read_applications(json.dumps(serve.document).encode()), wanted)

    assert {check.name: check.status for check in found if check.status is not CheckStatus.OK} == problems


def test_preflight_refuses_guided_mode_without_serves_own_autoscaling() -> None:
    wanted = policy().model_copy(update={"mode": Mode.GUIDED})
    state = read_applications(json.dumps(ServeRestStandIn().document).encode())

    (failed,) = [check for check in check_serve(state, wanted) if check.status is CheckStatus.FAIL]

    assert "Serve does not scale it by itself" in failed.detail
    assert "controller_url" in failed.fix
