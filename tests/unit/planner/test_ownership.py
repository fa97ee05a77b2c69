"""Targets that this controller did not set: a redeploy's are set again, somebody else's are left alone."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Action, Conflict, Order, OutcomeStatus, Reason
from controller.domain.reading import Unknown
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import decide
from controller.planner.ownership import claim, disowned, unclaimed
from tests.planning import NOW, applied, decided, given, policy, seen, state
from tests.records import CHAT

RULES = policy(stabilisation={"upscale_delay_s": 0, "downscale_delay_s": 300})
OURS = DeploymentMemory(
    last_set=4, last_set_at=NOW - 50, last_set_digest="d1", known_since=NOW - 900, recommendations=((NOW - 50, 4),)
)
ORDER = Order(id=CHAT, ordered_at=NOW, from_replicas=2, to_replicas=4, deadline=NOW + 45)
REDEPLOYED = {"config_digest": "d2", "config_replicas": 1}


def redeploy(found: int) -> Conflict:
    return Conflict(id=CHAT, expected=4, found=found, cause="redeploy")


def second_writer(found: int) -> Conflict:
    return Conflict(id=CHAT, expected=4, found=found, cause="second_writer")


@pytest.mark.parametrize(
    ("demand", "desired", "action"),
    [
        pytest.param(28, 4, Action.REASSERT, id="as-before"),
        pytest.param(8, 4, Action.REASSERT, id="lower-need-waits-out-its-delay"),
        pytest.param(60, 8, Action.SCALE_UP, id="more-is-needed"),
        pytest.param(Unknown("restarting"), 4, Action.REASSERT, id="nothing-is-known"),
    ],
)
def test_a_target_reset_by_a_redeploy_is_set_again(demand: Any, desired: int, action: Action) -> None:
    plan, _ = decide([given(seen(demand, target=1, **REDEPLOYED), RULES)], state(OURS), now=NOW)

    assert plan.conflicts == (redeploy(1),)
    assert (plan.decisions[0].desired, plan.decisions[0].action) == (desired, action)


def test_setting_again_keeps_to_the_largest_step() -> None:
    rules = policy(limits={"max_step_up": 2})

    decision, _ = decided(given(seen(28, target=1, **REDEPLOYED), rules), state(OURS))

    assert (decision.desired, decision.binding) == (3, Reason.MAX_STEP_UP)


def test_a_target_raised_by_a_redeploy_is_lowered_no_faster_than_any_other() -> None:
    held, _ = decided(
        given(seen(28, target=9, blind_spots=("ray/a is stale",), config_digest="d2", config_replicas=9), RULES),
        state(OURS),
    )
    lowered, _ = decided(given(seen(28, target=9, config_digest="d2", config_replicas=9), RULES), state(OURS))

    assert (held.action, held.binding) == (Action.NONE, Reason.BLIND_SPOT)
    assert (lowered.desired, lowered.action) == (4, Action.REASSERT)


def test_a_redeploy_is_settled_once_its_target_was_set_again() -> None:
    observed = seen(28, target=1, **REDEPLOYED)
    plan, planned = decide([given(observed, RULES)], state(OURS), now=NOW)
    memory = applied(plan, planned, [observed])

    plan, _ = decide([given(seen(28, target=4, at=NOW + 10, **REDEPLOYED), RULES)], memory, now=NOW + 10)

    assert plan.conflicts == ()
    assert plan.decisions[0].action is Action.NONE


def test_a_redeploys_target_that_was_kept_is_accepted() -> None:
    """What was set long ago must not come back when, much later, nothing is known for a moment."""
    paused = policy(paused=True)
    plan, memory = decide([given(seen(4, target=1, **REDEPLOYED), paused)], state(OURS), now=NOW)

    later, _ = decide([given(seen(Unknown("stale"), target=1, **REDEPLOYED), RULES)], memory, now=NOW + 10)

    assert plan.conflicts == (redeploy(1),)
    assert later.conflicts == ()
    assert later.decisions[0].desired == 1


def test_a_redeploy_that_keeps_the_target_is_no_conflict() -> None:
    plan, after = decide([given(seen(28, target=4, **REDEPLOYED), RULES)], state(OURS), now=NOW)

    assert plan.conflicts == ()
    assert after.memory(CHAT).last_set_digest == "d2"


def test_without_a_digest_only_the_configured_number_looks_like_a_redeploy() -> None:
    unknown = DeploymentMemory(last_set=4)

    reset, _ = decide([given(seen(28, target=1, config_replicas=1), RULES)], state(unknown), now=NOW)
    other, _ = decide([given(seen(28, target=2, config_replicas=1), RULES)], state(unknown), now=NOW)

    assert reset.conflicts == (redeploy(1),)
    assert other.conflicts == (second_writer(2),)


def test_a_second_writer_is_reported_once_for_each_new_value() -> None:
    memory, conflicts = state(OURS), []
    for tick, target in enumerate([6, 6, 6, 7, 7]):
        plan, memory = decide([given(seen(28, target=target, at=NOW + tick), RULES)], memory, now=NOW + tick)
        conflicts.append([(conflict.expected, conflict.found) for conflict in plan.conflicts])

    assert conflicts == [[(4, 6)], [], [], [(6, 7)], []]


def test_a_second_writers_target_is_left_alone_for_a_downscale_delay() -> None:
    long_low = DeploymentMemory(last_set=1, last_set_digest="d1", known_since=NOW - 900)
    memory, found = state(long_low), []
    for tick in range(0, 400, 100):
        plan, memory = decide([given(seen(4, target=5, at=NOW + tick), RULES)], memory, now=NOW + tick)
        found.append((plan.decisions[0].desired, plan.decisions[0].binding))

    assert found == [(5, Reason.DOWNSCALE_DELAY)] * 3 + [(1, Reason.DEMAND)]


def test_demand_may_raise_a_second_writers_target_at_once() -> None:
    decision, memory = decided(given(seen(28, target=2), RULES), state(OURS))

    assert (decision.desired, decision.action) == (4, Action.SCALE_UP)
    assert memory.foreign_since == NOW


def test_a_write_that_was_not_confirmed_but_took_effect_is_our_own() -> None:
    """The answer was lost, or the controller was killed between writing and recording."""
    observed = seen(28, target=2)
    plan, planned = decide([given(observed, RULES)], PlannerState(), now=NOW)
    memory = applied(plan, planned, [observed], status=OutcomeStatus.FAILED)

    plan, after = decide([given(seen(28, target=4, at=NOW + 10), RULES)], memory, now=NOW + 10)

    assert plan.conflicts == ()
    assert after.memory(CHAT).last_set == 4


@pytest.mark.parametrize(
    ("status", "last_set"),
    [
        (OutcomeStatus.APPLIED, 4),
        (OutcomeStatus.ADVISED, None),
        (OutcomeStatus.REFUSED, None),
        (OutcomeStatus.FAILED, None),
    ],
)
def test_only_what_was_applied_is_remembered_as_set(status: OutcomeStatus, last_set: int | None) -> None:
    observed = seen(28, target=2)
    plan, planned = decide([given(observed, RULES)], PlannerState(), now=NOW)

    memory = applied(plan, planned, [observed], status=status).memory(CHAT)

    assert memory.last_set == last_set
    assert (memory.last_set_digest, memory.last_set_at) == (("d1", NOW) if last_set else (None, None))


def test_where_serve_scales_by_itself_no_target_is_expected() -> None:
    before = PlannerState(deployments=((CHAT, replace(OURS, attempted=5)),), ledger=(ORDER,))

    assert unclaimed(before) == replace(before, deployments=((CHAT, replace(OURS, last_set=None, attempted=None)),))


def test_what_another_controller_sets_is_neither_ours_nor_a_strangers() -> None:
    ours = replace(OURS, attempted=5, last_set_seen_at=NOW - 60)

    after = disowned(ours)

    assert after == replace(ours, last_set=None, last_set_at=None, last_set_seen_at=None, attempted=None)
    assert decide([given(seen(28, target=6), RULES)], state(after), now=NOW)[0].conflicts == ()


def test_a_target_that_a_person_sets_as_advised_is_no_conflict() -> None:
    observed = seen(28, target=2)
    plan, planned = decide([given(observed, RULES)], PlannerState(), now=NOW)
    memory = applied(plan, planned, [observed], status=OutcomeStatus.ADVISED)

    plan, _ = decide([given(seen(28, target=4), RULES)], memory, now=NOW)

    assert plan.conflicts == ()


def test_a_target_that_was_attempted_is_ours_from_when_it_is_seen() -> None:
    found = claim(seen(8, target=4), 4, DeploymentMemory(last_set=2, last_set_at=NOW - 90, attempted=4), now=NOW)

    assert (found.base, found.conflict, found.reset_from) == (4, None, None)
    assert (found.memory.last_set, found.memory.last_set_at, found.memory.attempted) == (4, NOW, None)
