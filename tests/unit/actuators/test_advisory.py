"""Advisory mode says what it would do and writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from controller.actuators.advisory import AdvisoryActuator
from controller.clients.serve import ServeClient
from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.plan import Action, Capacity, CapacitySource, Decision, OutcomeStatus, Reason
from tests.serve_rest import CHAT, Fault, ServeRestStandIn


def decision(current: int | None, desired: int | None, action: Action) -> Decision:
    return Decision(
        id=CHAT,
        current=current,
        desired=desired,
        action=action,
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
async def actuator(serve: ServeRestStandIn) -> AsyncIterator[AdvisoryActuator]:
    async with aiohttp.ClientSession() as session:
        yield AdvisoryActuator(client=ServeClient(base_url=serve.base_url, session=session))


@pytest.mark.parametrize(
    ("given", "status", "detail"),
    [
        (decision(1, 2, Action.SCALE_UP), OutcomeStatus.ADVISED, "would set 1 → 2"),
        (decision(None, 2, Action.SCALE_UP), OutcomeStatus.ADVISED, "would set unknown → 2"),
        (decision(2, 2, Action.NONE), OutcomeStatus.NOTHING_TO_DO, ""),
        (decision(2, None, Action.NONE), OutcomeStatus.NOTHING_TO_DO, ""),
    ],
)
async def test_advice_is_given_and_nothing_is_asked_of_serve(
    serve: ServeRestStandIn, actuator: AdvisoryActuator, given: Decision, status: OutcomeStatus, detail: str
):
    outcome = await actuator.apply(given)

    assert (outcome.status, outcome.detail, outcome.attempts) == (status, detail, 0)
    assert serve.calls == []


async def test_the_state_is_still_read_and_none_when_it_cannot_be(serve: ServeRestStandIn, actuator: AdvisoryActuator):
    state = await actuator.read_state()
    serve.fail(Fault(status=503))

    assert state is not None
    assert state.deployment(CHAT) is not None
    assert await actuator.read_state() is None
