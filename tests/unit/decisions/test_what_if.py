"""Planning once more with another policy: the same one gives the same plan, and nothing is touched."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from controller.decisions import what_if as module
from controller.decisions.what_if import WhatIf, what_if
from controller.domain.identity import DeploymentId
from controller.errors import BadInputError
from controller.loop.thinking import Considered
from controller.policy.load import parse_policy
from controller.policy.model import Budget, CapacityPrior, ForecastPolicy, Limits, Policy
from controller.web.replanning import BusyError, Replanning
from tests.page_world import POLICY, wave
from tests.scenarios.world import World, chat, policy


async def considered(seconds: float = 400) -> tuple[Considered, World]:
    world = World(wave)
    await world.run(seconds)
    assert world.loop.considered is not None
    return world.loop.considered, world


def edited(base: Policy, **changes: object) -> Policy:
    return base.model_copy(update={"deployments": (base.deployments[0].model_copy(update=changes),)})


async def test_the_same_policy_gives_the_plan_that_was_made_in_every_tick() -> None:
    world = World(wave)
    for _ in range(120):
        await world.run(5)
        assert world.loop.considered is not None
        (found,) = what_if(world.loop.considered, world.loop.considered.policy).differences
        made = chat(world.records[-1]).decision
        assert found.before == made
        assert found.after == made
        assert not found.notes


async def test_a_smaller_replica_needs_more_of_them_and_each_stage_says_so() -> None:
    given, _ = await considered()

    (found,) = what_if(given, edited(policy(), capacity=CapacityPrior(target_ongoing_requests=2))).differences

    assert found.differs
    assert found.after.steps[0].replicas > found.before.steps[0].replicas
    assert "/ 2 per replica" in found.after.steps[0].detail


async def test_limits_and_budget_are_those_of_the_new_policy() -> None:
    given, _ = await considered()

    limited = what_if(given, edited(policy(), limits=Limits(max_replicas=2)))
    bought = what_if(given, policy().model_copy(update={"budget": Budget(gpus=2)}))

    assert limited.differences[0].after.desired == 2
    assert bought.differences[0].after.desired == 2
    assert bought.budget_after[0].limit == 2
    assert bought.budget_before == ()


async def test_without_a_forecast_only_measured_demand_counts() -> None:
    given, _ = await considered()

    (found,) = what_if(given, edited(policy(), forecast=ForecastPolicy(enabled=False))).differences

    assert found.after.forecasts == ()
    assert found.after.forecast_unavailable == "switched off by the policy"


async def test_what_cannot_be_carried_over_is_said() -> None:
    given, _ = await considered()

    (found,) = what_if(
        given,
        edited(policy(), capacity=CapacityPrior(target_ongoing_requests=4, requests_per_s=1)),
    ).differences

    assert any("requests_per_s" in note and "no forecast" in note for note in found.notes)


async def test_new_and_missing_deployments_are_named() -> None:
    given, _ = await considered()

    other = what_if(given, edited(policy(), deployment="other"))

    assert other.unseen == (DeploymentId("chat", "other"),)
    assert other.gone == (DeploymentId("chat", "LLMServer:tiny"),)
    assert other.differences == ()


async def test_the_loop_goes_on_as_if_nobody_had_asked() -> None:
    asked, unasked = World(wave), World(wave)
    for _ in range(60):
        await asked.run(5)
        await unasked.run(5)
        assert asked.loop.considered is not None
        what_if(asked.loop.considered, edited(policy(), limits=Limits(max_replicas=2)))

    assert [chat(one).decision for one in asked.records] == [chat(one).decision for one in unasked.records]


async def test_one_plan_at_a_time_and_none_is_waited_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    given, _ = await considered(100)
    free = threading.Event()

    def slow(asked: Considered, wanted: Policy) -> WhatIf:
        free.wait(10)
        return module.what_if(asked, wanted)

    monkeypatch.setattr("controller.web.replanning.what_if", slow)
    replanning = Replanning(longest_s=0.5)

    with pytest.raises(BusyError, match=r"takes longer than 0\.5 s"):
        await replanning.plan(given, POLICY.encode())
    with pytest.raises(BusyError, match="another plan is being made"):
        await replanning.plan(given, POLICY.encode())
    free.set()
    assert replanning._under_way is not None
    await replanning._under_way
    loaded, answer = await replanning.plan(given, POLICY.encode())

    assert loaded.version == parse_policy(Path("p"), POLICY.encode()).version
    assert answer.at == given.at


async def test_a_wrong_policy_is_bad_input_that_says_where() -> None:
    given, _ = await considered(100)

    with pytest.raises(BadInputError, match=r"policy:2:\d+: mode"):
        await Replanning().plan(given, POLICY.replace("version: 1", "version: 1\nmode: fast").encode())


async def test_what_was_considered_holds_still() -> None:
    given, world = await considered(100)
    kept = replace(given)
    await world.run(50)

    assert given == kept
