"""Who gets what of a budget that is too small for all, and why."""

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, BudgetUse, Decision, Reason, Step
from controller.domain.reading import Known, Unknown
from controller.domain.snapshot import NOT_DEPLOYED, ReplicaCounts, Snapshot
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.debt import with_debt
from controller.planner.decide import PlanInput, decide
from controller.policy.model import Budget, Objectives
from tests.planning import NOW, given, policy, seen

A, B, C = (DeploymentId("app", name) for name in "abc")
KNOWN = DeploymentMemory(known_since=0.0)


def wants(name: DeploymentId, replicas: int, *, target: int = 1, policy_of: Any = None, **changes: Any) -> PlanInput:
    """A deployment whose demand needs ``replicas``."""
    return given(seen(8 * replicas, target=target, deployment=name, **changes), policy(name, **(policy_of or {})))


def divided(
    inputs: list[PlanInput], *, gpus: int, memories: dict[DeploymentId, DeploymentMemory] | None = None
) -> dict[DeploymentId, Decision]:
    known = tuple((one.snapshot.id, (memories or {}).get(one.snapshot.id, KNOWN)) for one in inputs)
    plan, _ = decide(inputs, PlannerState(deployments=known), now=NOW, budget=Budget(gpus=gpus))
    return {decision.id: decision for decision in plan.decisions}


def numbers(decisions: dict[DeploymentId, Decision]) -> list[int | None]:
    return [decisions[name].desired for name in sorted(decisions)]


def test_what_fits_is_granted_and_told() -> None:
    decisions = divided([wants(A, 3), wants(B, 4)], gpus=8)

    assert numbers(decisions) == [3, 4]
    assert decisions[A].binding is Reason.DEMAND
    assert decisions[A].steps[-1] == Step("budget", 3, Reason.DEMAND, "all get 7 of 8 GPUs and want 7")


def test_what_is_divided_is_what_the_limits_left() -> None:
    decisions = divided([wants(A, 6, policy_of={"limits": {"max_replicas": 2}}), wants(B, 4)], gpus=6)

    assert numbers(decisions) == [2, 4]


def test_equals_share_in_proportion_to_what_they_want() -> None:
    decisions = divided([wants(A, 4), wants(B, 8)], gpus=6)

    assert numbers(decisions) == [2, 4]
    assert decisions[B].binding is Reason.BUDGET
    why = "8 wanted; all get 6 of 6 GPUs and want 12; priority 0, urgency 1.00 (weight and missed objectives)"
    assert decisions[B].steps[-1] == Step("budget", 4, Reason.BUDGET, why)


@pytest.mark.parametrize(
    ("of_a", "memory", "expected"),
    [
        pytest.param({"weight": 2}, KNOWN, [4, 2], id="weight"),
        pytest.param({"priority": 1}, KNOWN, [5, 1], id="priority"),
        pytest.param({}, replace(KNOWN, slo_debt=1.0, slo_debt_at=NOW), [4, 2], id="missed-objectives"),
        pytest.param({"gpus_per_replica": 2}, KNOWN, [2, 2], id="larger-replicas"),
    ],
)
def test_weight_priority_and_missed_objectives_decide_between_equals(
    of_a: dict[str, Any], memory: DeploymentMemory, expected: list[int]
) -> None:
    decisions = divided([wants(A, 6, policy_of=of_a), wants(B, 6)], gpus=6, memories={A: memory})

    assert numbers(decisions) == expected


def test_a_target_that_is_raised_to_what_runs_already_takes_nothing_more() -> None:
    """Serve was asked for fewer, and the rest has not begun to stop: they hold the whole budget themselves."""
    decisions = divided([wants(A, 4, target=2, ready=4)], gpus=4)

    assert (decisions[A].desired, decisions[A].binding) == (4, Reason.DEMAND)


def test_what_drains_still_holds_its_gpus() -> None:
    decisions = divided([wants(A, 5), wants(B, 1, stopping=2)], gpus=6)

    assert numbers(decisions) == [3, 1]
    why = "5 wanted, 5 allowed once others have let go; all get 4 of 6 GPUs and want 6"
    assert decisions[A].steps[-1] == Step("budget", 3, Reason.BUDGET, why)


def test_room_is_made_first_and_taken_afterwards() -> None:
    first = divided([wants(A, 6, policy_of={"priority": 1}), wants(B, 6, target=6)], gpus=7)
    then = divided([wants(A, 6, policy_of={"priority": 1}), wants(B, 6, target=1, stopping=5)], gpus=7)
    after = divided([wants(A, 6, policy_of={"priority": 1}), wants(B, 6, target=1)], gpus=7)

    assert numbers(first) == [1, 1]
    assert first[B].action is Action.SCALE_DOWN
    assert numbers(then) == [1, 1]
    assert numbers(after) == [6, 1]


def test_an_equal_keeps_what_is_in_flight_and_a_clear_difference_is_needed_to_move_more() -> None:
    decisions = divided([wants(A, 10), wants(B, 4, target=4)], gpus=8)

    assert numbers(decisions) == [4, 4]


def test_a_deployment_of_which_nothing_is_known_keeps_what_it_has() -> None:
    blind = given(seen(Unknown("stale"), target=5, deployment=B), policy(B))

    assert numbers(divided([wants(A, 9, policy_of={"priority": 1}), blind], gpus=8)) == [3, 5]


def test_a_target_that_may_yet_take_effect_is_held() -> None:
    asked = replace(KNOWN, attempted=5)

    assert numbers(divided([wants(A, 9), wants(B, 1)], gpus=8, memories={B: asked})) == [3, 1]


def test_what_serve_does_not_have_holds_nothing_and_what_is_unknown_may_hold_all() -> None:
    gone = given(seen(0, target=None, deployment=B, status=NOT_DEPLOYED), policy(B))
    unknown = given(seen(0, target=None, deployment=B), policy(B))

    assert numbers(divided([wants(A, 8), gone], gpus=8)) == [8, None]
    assert numbers(divided([wants(A, 8), unknown], gpus=8)) == [1, None]
    assert numbers(divided([wants(A, 8), unknown], gpus=8, memories={B: replace(KNOWN, last_set=2)})) == [6, None]


def test_deployments_without_gpus_take_no_part() -> None:
    decisions = divided([wants(A, 8, policy_of={"gpus_per_replica": 0}), wants(B, 3)], gpus=2)

    assert numbers(decisions) == [8, 2]
    assert [step.stage for step in decisions[A].steps][-1] == "limit"


def test_a_smaller_budget_is_an_order_whatever_is_known() -> None:
    blind = given(seen(Unknown("stale"), target=6, deployment=A), policy(A))

    assert divided([blind], gpus=4)[A].desired == 4


def test_money_limits_as_gpus_do() -> None:
    dear = policy(A, gpu_price_per_hour=10, gpus_per_replica=2)
    plan, _ = decide(
        [given(seen(80, deployment=A, target=1), dear)],
        PlannerState(deployments=((A, KNOWN),)),
        now=NOW,
        budget=Budget(spend_per_hour=70),
    )

    assert plan.decisions[0].desired == 3
    assert "all get 60 of 70 an hour and want 200" in plan.decisions[0].steps[-1].detail


@pytest.mark.parametrize(
    ("budget", "used"),
    [
        pytest.param(
            Budget(gpus=20, spend_per_hour=700),
            (
                BudgetUse(resource="gpus", limit=20.0, held=6.0 + 4.0, wanted=12.0 + 4.0),
                BudgetUse(resource="spend_per_hour", limit=700.0, held=60.0 + 0.0, wanted=120.0 + 0.0),
            ),
            id="both",
        ),
        pytest.param(
            Budget(gpus=20), (BudgetUse(resource="gpus", limit=20.0, held=10.0, wanted=16.0),), id="gpus-only"
        ),
        pytest.param(
            Budget(spend_per_hour=700),
            (BudgetUse(resource="spend_per_hour", limit=700.0, held=60.0, wanted=120.0),),
            id="money-only",
        ),
    ],
)
def test_how_much_of_each_limit_is_held_and_wanted_is_told(budget: Budget, used: tuple[BudgetUse, ...]) -> None:
    """What starts and what drains is held, too; of what has no price nothing is spent."""
    dear = policy(A, gpu_price_per_hour=10, gpus_per_replica=2)
    observed = seen(48, deployment=A, target=1, ready=1, starting=1, stopping=1)

    plan, _ = decide(
        [given(observed, dear), given(seen(32, deployment=B, target=4), policy(B))],
        PlannerState(deployments=((A, KNOWN), (B, KNOWN))),
        now=NOW,
        budget=budget,
    )

    assert plan.budget == used
    assert decide([given(observed, dear)], PlannerState(), now=NOW)[0].budget == ()


NONE_READY = ReplicaCounts(ready=0, starting=1, stopping=0)


def served(**changes: Any) -> Snapshot:
    found = seen(8, target=1)
    latency = replace(found.latency, **dict.fromkeys(("ttft_p95_s", "itl_p95_s"), Unknown("none")))
    return replace(found, latency=replace(latency, **changes.pop("latency", {})), **changes)


@pytest.mark.parametrize(
    ("snapshot", "debt"),
    [
        pytest.param(served(latency={"ttft_p95_s": Known(3.0)}), 0.5, id="half-again-as-long"),
        pytest.param(served(latency={"ttft_p95_s": Known(1.0), "itl_p95_s": Known(0.5)}), 1.0, id="the-worse-counts"),
        pytest.param(served(latency={"ttft_p95_s": Known(1.0)}), 0.0, id="kept"),
        pytest.param(served(shed_per_s=Known(0.1)), 1.0, id="turned-away"),
        pytest.param(served(shed_per_s=Known(0.0), latency={"ttft_p95_s": Known(3.0)}), 0.5, id="nobody-turned-away"),
        pytest.param(served(latency={"ttft_p95_s": Known(99.0)}), 1.0, id="no-more-than-all"),
        pytest.param(served(idle=True, latency={"ttft_p95_s": Known(9.0)}), 0.0, id="idle"),
        pytest.param(served(at_the_door=Known(0.5), replicas=NONE_READY), 1.0, id="knocked-and-nobody-serves"),
    ],
)
def test_debt_follows_what_was_missed(snapshot: Snapshot, debt: float) -> None:
    promised = Objectives(ttft_s=2.0, itl_s=0.1)
    memory = replace(KNOWN, slo_debt_at=NOW)

    assert with_debt(memory, snapshot, promised, now=NOW + 10_000).slo_debt == pytest.approx(debt, abs=1e-3)
    assert with_debt(memory, snapshot, promised, now=NOW).slo_debt == 0.0


def test_a_divided_budget_remembers_what_was_missed() -> None:
    missed = given(served(shed_per_s=Known(1.0)))
    before = PlannerState(deployments=((missed.snapshot.id, replace(KNOWN, slo_debt_at=NOW - 600)),))

    _, after = decide([missed], before, now=NOW, budget=Budget(gpus=8))

    assert after.memory(missed.snapshot.id).slo_debt == pytest.approx(1 - math.exp(-1))


@pytest.mark.parametrize(
    ("since", "now", "debt"),
    [
        pytest.param(NOW, NOW + 600, 0.2 + (1 - math.exp(-1)) * 0.8, id="over-ten-minutes"),
        pytest.param(NOW, NOW - 60, 0.2, id="the-clock-was-set-back"),
        pytest.param(None, NOW, 0.2, id="met-for-the-first-time"),
    ],
)
def test_debt_fades(since: float | None, now: float, debt: float) -> None:
    memory = replace(KNOWN, slo_debt=0.2, slo_debt_at=since)

    after = with_debt(memory, served(shed_per_s=Known(1.0)), Objectives(), now=now)

    assert (after.slo_debt, after.slo_debt_at) == (pytest.approx(debt), now)


@pytest.mark.parametrize(
    "unknown",
    [
        pytest.param({}, id="latency"),
        pytest.param({"at_the_door": Known(0.0), "replicas": NONE_READY}, id="nobody-serves-and-nobody-knocks"),
        pytest.param({"at_the_door": Unknown("stale"), "replicas": NONE_READY}, id="the-door"),
        pytest.param({"at_the_door": Known(1.0), "replicas": None}, id="replicas"),
    ],
)
def test_what_is_unknown_changes_no_debt(unknown: dict[str, Any]) -> None:
    memory = replace(KNOWN, slo_debt=0.7, slo_debt_at=NOW)

    assert with_debt(memory, served(shed_per_s=Unknown("none"), **unknown), Objectives(), now=NOW + 600) == memory
