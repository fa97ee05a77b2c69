"""When a changed need is followed, and what holds it."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.capacity import CapacityMemory, MixEstimate
from controller.domain.plan import Reason
from controller.domain.reading import Known, Unknown
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.capacity.estimate import ENOUGH_INTERVALS
from controller.planner.capacity.from_policy import DEFAULT_ITERATION
from controller.planner.capacity.iteration import LOOSE, new_estimate
from controller.planner.decide import PlanInput, decide
from controller.planner.stabilise import LEARNING_S
from tests.planning import NOW, applied, decided, given, policy, seen, state
from tests.records import CHAT

DOWN_300 = policy(stabilisation={"upscale_delay_s": 0, "downscale_delay_s": 300})
UP_30 = policy(stabilisation={"upscale_delay_s": 30, "downscale_delay_s": 0})
LONG_LOW = DeploymentMemory(known_since=NOW - 900, recommendations=((NOW - 300, 1),))


def targets(demands: list[float | None], rules: Any, *, target: int, every_s: float = 10) -> list[int]:
    """Targets after each tick, every decision applied at once."""
    memory, found = PlannerState(), []
    for tick, demand in enumerate(demands):
        now = NOW + tick * every_s
        observed = seen(Unknown("gap") if demand is None else Known(demand), target=target, at=now)
        plan, planned = decide([given(observed, rules)], memory, now=now)
        memory = applied(plan, planned, [observed], now=now)
        target = plan.decisions[0].desired or 0
        found.append(target)
    return found


@pytest.mark.parametrize(
    ("changes", "desired", "reason"),
    [
        pytest.param({}, 1, Reason.DEMAND, id="low-long-enough"),
        pytest.param({"blind_spots": ("haproxy/a is stale",)}, 4, Reason.BLIND_SPOT, id="blind-spot"),
        pytest.param({"stopping": 1}, 4, Reason.UNSETTLED, id="another-lowering-under-way"),
        pytest.param({"status": "UPDATING"}, 4, Reason.UNSETTLED, id="being-updated"),
        pytest.param({"replicas": None}, 4, Reason.NO_DATA, id="replica-counts-unknown"),
        pytest.param({"ready": 1, "starting": 3}, 1, Reason.DEMAND, id="late-starters-block-nothing"),
    ],
)
def test_lowering(changes: dict[str, Any], desired: int, reason: Reason) -> None:
    decision, _ = decided(given(seen(4, target=4, **changes), DOWN_300), state(LONG_LOW))

    assert (decision.desired, decision.binding) == (desired, reason)


@pytest.mark.parametrize(
    "changes",
    [{"blind_spots": ("haproxy/a is stale",)}, {"stopping": 1}, {"status": "UPDATING"}, {"replicas": None}],
)
def test_nothing_but_the_delay_holds_a_raise(changes: dict[str, Any]) -> None:
    decision, _ = decided(given(seen(40, target=2, **changes), DOWN_300))

    assert (decision.desired, decision.binding) == (5, Reason.DEMAND)


@pytest.mark.parametrize(
    ("one", "memory", "detail"),
    [
        pytest.param(
            given(seen(Unknown("gap"), target=4), DOWN_300), LONG_LOW, "hold 4 while demand is unknown", id="unknown"
        ),
        pytest.param(given(seen(14, target=2), DOWN_300), LONG_LOW, "2 is what is needed", id="steady"),
        pytest.param(
            given(seen(40, target=2), UP_30),
            DeploymentMemory(above_since=NOW - 10),
            "5 needed for 10 of 30 s",
            id="not-yet",
        ),
        pytest.param(given(seen(40, target=2), DOWN_300), LONG_LOW, "from 2 to 5", id="up"),
        pytest.param(
            given(seen(4, target=4, blind_spots=("ray/a is stale", "haproxy/a is stale")), DOWN_300),
            LONG_LOW,
            "hold 4 although 1 would do: ray/a is stale, haproxy/a is stale",
            id="blind",
        ),
        pytest.param(
            given(seen(4, target=4, replicas=None), DOWN_300),
            LONG_LOW,
            "hold 4 although 1 would do: replica counts are unknown",
            id="counts-unknown",
        ),
        pytest.param(
            given(seen(4, target=4, stopping=2), DOWN_300),
            LONG_LOW,
            "hold 4 although 1 would do: 2 still stopping",
            id="stopping",
        ),
        pytest.param(
            given(seen(4, target=4, status="UPDATING"), DOWN_300),
            LONG_LOW,
            "hold 4 although 1 would do: the deployment is being updated",
            id="updated",
        ),
        pytest.param(
            given(seen(4, target=4), DOWN_300),
            replace(LONG_LOW, foreign_since=NOW - 60),
            "hold 4 although 1 would do: somebody else set it, left alone for another 240 s",
            id="foreign",
        ),
        pytest.param(
            given(seen(4, target=4), DOWN_300),
            replace(LONG_LOW, known_since=NOW - 100),
            "hold 4 although 1 would do: demand known without a break for 100 of 300 s",
            id="not-known-for-long",
        ),
        pytest.param(given(seen(4, target=4), DOWN_300), LONG_LOW, "at most 1 needed over the last 300 s", id="down"),
        pytest.param(
            given(seen(4, target=4), DOWN_300),
            replace(LONG_LOW, recommendations=((NOW - 300, 4),)),
            "4 needed within the last 300 s",
            id="needed-of-late",
        ),
        pytest.param(
            given(seen(23, target=4), DOWN_300), LONG_LOW, "3 would do, but without 10% to spare", id="nothing-to-spare"
        ),
    ],
)
def test_what_holds_is_said_with_its_numbers(one: PlanInput, memory: DeploymentMemory, detail: str) -> None:
    decision, _ = decided(one, state(memory))

    step = next(step for step in decision.steps if step.stage == "stabilise")
    assert step.detail == detail


def test_a_target_falls_to_the_largest_need_of_the_delay() -> None:
    memory = DeploymentMemory(known_since=NOW - 900, recommendations=((NOW - 310, 4), (NOW - 200, 3), (NOW - 100, 2)))

    decision, _ = decided(given(seen(4, target=5), DOWN_300), state(memory))

    assert decision.desired == 3


def test_a_need_that_lasts_the_whole_delay_is_given_back_once() -> None:
    found = targets([30.0, *[4.0] * 40], DOWN_300, target=1)

    assert found[:31] == [4] * 31
    assert found[31:] == [1] * 10


WATCHED = CapacityMemory(mix=MixEstimate(at=NOW, first_tokens=5.0))
LEARNED = replace(new_estimate("engine", DEFAULT_ITERATION, spread=LOOSE), intervals=ENOUGH_INTERVALS)
UNDERSTOOD = replace(WATCHED, estimates=(LEARNED,), active=("engine",))


@pytest.mark.parametrize(
    ("capacity", "since", "learn", "desired"),
    [
        pytest.param(WATCHED, None, True, 4, id="engines-just-seen"),
        pytest.param(WATCHED, NOW - LEARNING_S + 1, True, 4, id="not-for-long-enough"),
        pytest.param(WATCHED, NOW - LEARNING_S, True, 1, id="long-enough-to-learn-it"),
        pytest.param(WATCHED, None, False, 1, id="nothing-is-to-be-learned"),
        pytest.param(CapacityMemory(), None, True, 1, id="no-engine-to-learn-from"),
        pytest.param(None, None, True, 1, id="nothing-remembered"),
        pytest.param(UNDERSTOOD, None, True, 1, id="understood-and-quiet-since"),
    ],
)
def test_nothing_is_given_up_by_a_guess_while_the_engines_are_about_to_show_what_they_carry(
    capacity: CapacityMemory | None, since: float | None, learn: bool, desired: int
) -> None:
    rules = policy(per_replica={"learn": learn}, stabilisation={"upscale_delay_s": 0, "downscale_delay_s": 300})
    memory = replace(LONG_LOW, capacity=capacity, unlearned_since=since)

    decision, _ = decided(given(seen(4, target=4), rules), state(memory))

    assert decision.desired == desired


def test_engines_that_were_learned_and_change_are_learned_anew() -> None:
    memory = replace(LONG_LOW, capacity=CapacityMemory(), unlearned_since=NOW - 9000)
    _, memory = decided(given(seen(4, target=4), DOWN_300), state(memory))

    assert memory.unlearned_since is None


def test_a_gap_restarts_the_time_of_knowing() -> None:
    found = targets([30.0, *[4.0] * 20, None, *[4.0] * 32], DOWN_300, target=1)

    assert found[: 22 + 30] == [4] * 52
    assert found[-1] == 1


def test_a_blind_spot_restarts_the_time_of_knowing() -> None:
    observed = seen(4, target=4, blind_spots=("haproxy/a is stale",))
    _, memory = decided(given(observed, DOWN_300), state(LONG_LOW))

    early, memory = decided(given(seen(4, target=4), DOWN_300), state(memory), now=NOW + 10)
    late, _ = decided(given(seen(4, target=4), DOWN_300), state(memory), now=NOW + 310)

    assert (early.desired, early.binding) == (4, Reason.DOWNSCALE_DELAY)
    assert late.desired == 1


def test_an_upscale_waits_until_the_need_has_lasted() -> None:
    assert targets([30.0] * 5, UP_30, target=1) == [1, 1, 1, 4, 4]


def test_the_jitter_of_one_tick_does_not_restart_an_upscale() -> None:
    assert targets([30.0, 30.0, 4.0, 30.0], UP_30, target=1) == [1, 1, 1, 4]


def test_two_ticks_without_the_need_restart_an_upscale() -> None:
    assert targets([30.0, 30.0, 4.0, 4.0, 30.0, 30.0], UP_30, target=1) == [1] * 6


def test_a_raise_that_was_made_starts_the_next_one_anew() -> None:
    assert targets([30.0] * 4 + [60.0] * 4, UP_30, target=1) == [1, 1, 1, 4, 4, 4, 4, 8]


def test_a_demand_that_only_just_fits_fewer_is_not_given_up() -> None:
    decision, _ = decided(given(seen(7.5, target=2), policy()), state(LONG_LOW))

    assert (decision.desired, decision.binding) == (2, Reason.STEADY)
    assert decision.steps[2].detail == "1 would do, but without 10% to spare"


def test_memory_stays_small() -> None:
    memory = PlannerState()
    for tick in range(500):
        _, planned = decided(given(seen(tick % 7, target=10), DOWN_300), memory, now=NOW + tick)
        memory = state(planned)

    assert len(memory.memory(CHAT).recommendations) <= 2


def test_a_clock_set_back_does_not_hold_lowering_for_longer_than_the_delay() -> None:
    ahead = DeploymentMemory(known_since=NOW + 86_400, recommendations=((NOW + 86_400, 4),))
    _, memory = decided(given(seen(4, target=4), DOWN_300), state(ahead))

    decision, _ = decided(given(seen(4, target=4), DOWN_300), state(memory), now=NOW + 301)

    assert decision.desired == 1
