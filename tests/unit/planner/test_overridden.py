"""What people and alerts ask for: which of it holds, the number it makes, and that limits stay limits."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.override import Override, OverrideAction
from controller.domain.plan import Action, Reason
from controller.domain.state import DeploymentMemory
from controller.planner.overridden import covering
from tests.planning import NOW, decided, forecast, given, policy, seen, state
from tests.records import CHAT, EMBED

FREEZE, RESUME = OverrideAction.FREEZE, OverrideAction.RESUME
HOLD, RAISE, REACTIVE = OverrideAction.HOLD_SCALE_DOWN, OverrideAction.RAISE_FLOOR, OverrideAction.REACTIVE


def asked(action: OverrideAction, *, ago: float = 10, left: float = 50, **changes: Any) -> Override:
    fields: dict[str, Any] = {
        "id": f"ov-{action.value}",
        "action": action,
        "deployment": CHAT,
        "began_at": NOW - ago,
        "until": NOW + left,
        "owner": "alice",
        "reason": "launch",
    }
    return Override(**{**fields, **changes})


def decision_with(
    *overrides: Override, demand: float = 12, target: int = 2, before: DeploymentMemory | None = None, **sections: Any
):
    one = given(seen(demand, target=target), policy(**sections), [forecast(demand)])
    memory = state(before or DeploymentMemory(known_since=0.0))
    return decided(replace(one, overrides=overrides), memory)[0]


@pytest.mark.parametrize(
    ("overrides", "demand", "target", "desired", "reason"),
    [
        pytest.param([asked(FREEZE)], 40, 2, 2, Reason.FROZEN, id="frozen-against-a-rise"),
        pytest.param([asked(FREEZE)], 4, 5, 5, Reason.FROZEN, id="frozen-against-a-fall"),
        pytest.param([asked(FREEZE), asked(RAISE, replicas=3)], 4, 2, 2, Reason.FROZEN, id="a-freeze-beats-a-floor"),
        pytest.param([asked(HOLD)], 4, 5, 5, Reason.HELD, id="held-against-a-fall"),
        pytest.param([asked(HOLD)], 40, 2, 5, Reason.DEMAND, id="a-hold-lets-rise"),
        pytest.param([asked(RAISE, replicas=3)], 4, 1, 4, Reason.RAISED_FLOOR, id="three-more-than-the-least"),
        pytest.param([asked(RAISE, replicas=3)], 40, 2, 5, Reason.DEMAND, id="demand-above-the-floor-decides"),
        pytest.param(
            [asked(RAISE, replicas=3), asked(RAISE, replicas=5, id="b")], 4, 1, 6, Reason.RAISED_FLOOR, id="highest"
        ),
        pytest.param([asked(RAISE, replicas=99)], 4, 1, 10, Reason.RAISED_FLOOR, id="never-above-the-most"),
        pytest.param([asked(HOLD), asked(RAISE, replicas=1)], 4, 5, 5, Reason.HELD, id="hold-above-the-floor"),
        pytest.param([asked(FREEZE), asked(RESUME, ago=5)], 40, 2, 5, Reason.DEMAND, id="resumed"),
        pytest.param([asked(RESUME), asked(FREEZE, ago=5)], 40, 2, 2, Reason.FROZEN, id="frozen-again"),
        pytest.param([asked(FREEZE, deployment=None)], 40, 2, 2, Reason.FROZEN, id="everywhere"),
        pytest.param([asked(FREEZE, deployment=EMBED)], 40, 2, 5, Reason.DEMAND, id="elsewhere"),
        pytest.param([asked(FREEZE, left=0)], 40, 2, 5, Reason.DEMAND, id="over"),
        pytest.param([asked(FREEZE, ago=-1)], 40, 2, 5, Reason.DEMAND, id="not-yet"),
    ],
)
def test_what_is_asked_for_makes_the_number(
    overrides: list[Override], demand: float, target: int, desired: int, reason: Reason
) -> None:
    decision = decision_with(*overrides, demand=demand, target=target)

    assert (decision.desired, decision.binding) == (desired, reason)


def test_its_stage_says_the_number_who_asked_and_why() -> None:
    step = decision_with(asked(RAISE, replicas=99, id="ov-1", owner="am/CapacityLate"), demand=4, target=1).steps[-2]

    assert (step.stage, step.replicas) == ("override", 10)
    assert step.detail == "at least 1 + 99 → 10 (of 100; 10 is the most); ov-1 by am/CapacityLate: launch"


@pytest.mark.parametrize(
    ("overrides", "demand", "target", "detail"),
    [
        pytest.param(
            [asked(FREEZE, ago=20, id="ov-0"), asked(FREEZE)],
            40,
            2,
            "frozen at 2; would otherwise be 5; ov-freeze by alice: launch",
            id="frozen-by-the-newest",
        ),
        pytest.param(
            [asked(HOLD, ago=20, id="ov-0"), asked(HOLD)],
            4,
            5,
            "hold 5 although 1 would do; ov-hold_scale_down by alice: launch",
            id="held-by-the-newest",
        ),
        pytest.param(
            [asked(RAISE, replicas=3), asked(RAISE, replicas=2, id="ov-0")],
            4,
            1,
            "at least 1 + 3 → 4; ov-raise_floor by alice: launch",
            id="raised-by-the-highest",
        ),
        pytest.param(
            [asked(RAISE, replicas=3, id="ov-0"), asked(RAISE, replicas=3, left=90)],
            4,
            1,
            "at least 1 + 3 → 4; ov-raise_floor by alice: launch",
            id="of-two-as-high-by-the-longer",
        ),
        pytest.param(
            [asked(HOLD), asked(RAISE, replicas=1)],
            40,
            2,
            "5 is in keeping with: hold scale down (ov-hold_scale_down by alice: launch); "
            "raise floor (ov-raise_floor by alice: launch)",
            id="in-keeping",
        ),
    ],
)
def test_who_asked_for_what_counts_is_told(overrides: list[Override], demand: float, target: int, detail: str) -> None:
    step = decision_with(*overrides, demand=demand, target=target).steps[-2]

    assert (step.stage, step.detail) == ("override", detail)


def test_without_any_there_is_no_such_stage() -> None:
    assert "override" not in [step.stage for step in decision_with().steps]


def test_one_that_changes_nothing_is_shown_all_the_same() -> None:
    step = decision_with(asked(HOLD), demand=40).steps[-2]

    assert (step.stage, step.replicas, step.reason) == ("override", 5, Reason.DEMAND)
    assert "hold scale down (ov-hold_scale_down by alice: launch)" in step.detail


@pytest.mark.parametrize("action", [FREEZE, HOLD, RAISE])
def test_limits_hold_whatever_is_asked_for(action: OverrideAction) -> None:
    decision = decision_with(asked(action, replicas=9 if action is RAISE else 0), target=6, limits={"max_replicas": 3})

    assert decision.desired == 3


def test_a_pause_in_the_policy_is_not_resumed() -> None:
    decision = decision_with(asked(RESUME), demand=40, paused=True)

    assert (decision.action, decision.binding) == (Action.NONE, Reason.PAUSED)


def test_switched_to_reactive_the_forecast_is_not_used_and_that_is_said() -> None:
    one = given(seen(12, target=2), policy(), [forecast(60)])

    usual, _ = decided(one)
    reactive, _ = decided(replace(one, overrides=(asked(REACTIVE),)))

    assert (usual.desired, usual.binding) == (8, Reason.FORECAST)
    assert (reactive.desired, reactive.forecasts) == (2, ())
    assert reactive.forecast_unavailable == "not used, as asked for: ov-reactive by alice: launch"


def test_a_raised_floor_wakes_what_sleeps() -> None:
    decision = decision_with(asked(RAISE, replicas=2), demand=0, target=0, limits={"min_replicas": 0})

    assert (decision.desired, decision.binding) == (2, Reason.RAISED_FLOOR)


def test_a_redeploy_does_not_end_a_hold() -> None:
    """Our five replicas were reset to one by a redeploy; one would do, and the hold still means five."""
    before = DeploymentMemory(known_since=0.0, last_set=5, last_set_digest="old")

    decision = decision_with(asked(HOLD), demand=4, target=1, before=before)

    assert (decision.desired, decision.action) == (5, Action.REASSERT)


def test_a_moment_waited_for_before_a_hold_is_waited_for_again_after_it() -> None:
    one = given(seen(4, target=5), policy())
    _, memory = decided(replace(one, overrides=(asked(HOLD),)), state(DeploymentMemory(drain_since=NOW - 500)))

    assert memory.drain_since is None


def test_a_hold_on_what_waits_anyway_does_not_begin_the_wait_anew() -> None:
    delays = {"upscale_delay_s": 0, "downscale_delay_s": 0, "max_drain_wait_s": 60}
    one = given(seen(12, target=4, stop_streams=(9.0, 9.0, 1.0, 1.0)), policy(stabilisation=delays))
    waiting = state(DeploymentMemory(known_since=0, drain_since=NOW - 50))

    decision, memory = decided(replace(one, overrides=(asked(HOLD),)), waiting)

    assert decision.desired == 4
    assert memory.drain_since == NOW - 50


def test_a_resume_that_is_over_lifts_no_freeze() -> None:
    found = covering([asked(FREEZE, ago=20), asked(RESUME, ago=10, left=0)], CHAT, NOW)

    assert [one.action for one in found] == [FREEZE]


def test_a_resume_lifts_a_freeze_of_the_same_moment() -> None:
    assert [one.action for one in covering([asked(FREEZE), asked(RESUME)], CHAT, NOW)] == [RESUME]


def test_other_deployments_are_not_touched() -> None:
    assert covering([asked(FREEZE)], DeploymentId("other", "one"), NOW) == ()
