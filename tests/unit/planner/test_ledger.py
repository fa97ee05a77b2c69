"""What was ordered, and whether it came."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Order, OrderStatus, OutcomeStatus
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.state import DeploymentMemory, PlannerState
from controller.planner.decide import decide
from controller.planner.ledger import DRAINED_WITHIN_S, ordered
from tests.planning import LEAD, NOW, applied, given, seen, state
from tests.records import CHAT, decision

ORDER = Order(id=CHAT, ordered_at=NOW, from_replicas=2, to_replicas=4, deadline=NOW + 45)
LATE = replace(ORDER, status=OrderStatus.LATE)


def reviewed(order: Order, *, at_s: float, **observed: Any) -> Order:
    plan, after = decide([given(seen(30, **observed))], PlannerState(ledger=(order,)), now=NOW + at_s)
    assert after.ledger == plan.ledger
    return plan.ledger[0]


@pytest.mark.parametrize(
    ("order", "at_s", "observed", "status"),
    [
        pytest.param(ORDER, 10, {"target": 4, "ready": 2}, OrderStatus.PENDING, id="under-way"),
        pytest.param(ORDER, 30, {"target": 4, "ready": 4}, OrderStatus.ARRIVED, id="arrived"),
        pytest.param(ORDER, 45, {"target": 4, "ready": 3}, OrderStatus.PENDING, id="at-its-deadline"),
        pytest.param(ORDER, 46, {"target": 4, "ready": 3}, OrderStatus.LATE, id="past-its-deadline"),
        pytest.param(LATE, 99, {"target": 4, "ready": 3}, OrderStatus.LATE, id="late-stays-open"),
        pytest.param(LATE, 99, {"target": 4, "ready": 4}, OrderStatus.ARRIVED, id="late-but-here"),
        pytest.param(ORDER, 10, {"target": 3, "ready": 2}, OrderStatus.CANCELLED, id="target-lowered"),
        pytest.param(ORDER, 99, {"target": 4, "replicas": None}, OrderStatus.PENDING, id="counts-unknown"),
        pytest.param(ORDER, 99, {"target": None}, OrderStatus.PENDING, id="nothing-known"),
    ],
)
def test_an_order_is_followed(order: Order, at_s: float, observed: dict[str, Any], status: OrderStatus) -> None:
    followed = reviewed(order, at_s=at_s, **observed)

    assert followed.status is status
    assert (followed.closed_at is not None) == (status in (OrderStatus.ARRIVED, OrderStatus.CANCELLED))


def test_closed_orders_stay_visible_for_a_quarter_of_an_hour() -> None:
    closed = replace(ORDER, status=OrderStatus.ARRIVED, closed_at=NOW)

    kept, _ = decide([given(seen(8))], PlannerState(ledger=(closed,)), now=NOW + 899)
    dropped, _ = decide([given(seen(8))], PlannerState(ledger=(closed,)), now=NOW + 900)

    assert kept.ledger == (closed,)
    assert dropped.ledger == ()


def test_orders_of_a_deployment_that_is_no_longer_planned_are_cancelled() -> None:
    plan, _ = decide([], PlannerState(ledger=(ORDER,)), now=NOW + 1)

    assert plan.ledger[0].status is OrderStatus.CANCELLED


def test_an_applied_raise_is_ordered_with_its_deadline() -> None:
    observed = seen(30, target=2)
    plan, planned = decide([given(observed)], PlannerState(), now=NOW)

    after = applied(plan, planned, [observed])

    assert after.ledger == (replace(ORDER, deadline=NOW + LEAD.p95_s),)


GIVEN_BACK = replace(ORDER, from_replicas=4, to_replicas=2, deadline=NOW + DRAINED_WITHIN_S)


@pytest.mark.parametrize(
    ("at_s", "observed", "status"),
    [
        pytest.param(10, {"target": 2, "ready": 2, "stopping": 2}, OrderStatus.PENDING, id="draining"),
        pytest.param(10, {"target": 2, "ready": 2}, OrderStatus.ARRIVED, id="drained"),
        pytest.param(10, {"target": 2, "ready": 2, "starting": 1}, OrderStatus.PENDING, id="one-too-many-starts"),
        pytest.param(10, {"target": 2, "ready": 1, "starting": 1}, OrderStatus.ARRIVED, id="as-many-as-wanted"),
        pytest.param(10, {"target": 3, "ready": 2, "stopping": 2}, OrderStatus.CANCELLED, id="wanted-again"),
        pytest.param(601, {"target": 2, "ready": 2, "stopping": 1}, OrderStatus.LATE, id="drains-for-too-long"),
    ],
)
def test_what_is_given_back_is_followed_until_it_has_drained(
    at_s: float, observed: dict[str, Any], status: OrderStatus
) -> None:
    assert reviewed(GIVEN_BACK, at_s=at_s, **observed).status is status


def test_an_applied_lowering_is_in_the_ledger_until_it_has_drained() -> None:
    observed = seen(8, target=4)
    plan, planned = decide([given(observed)], state(DeploymentMemory(known_since=0.0)), now=NOW)

    (order,) = applied(plan, planned, [observed]).ledger

    assert (order.from_replicas, order.to_replicas, order.gives_back) == (4, 2, True)
    assert order.deadline == NOW + DRAINED_WITHIN_S


@pytest.mark.parametrize(("current", "desired"), [(None, 3), (3, None), (3, 3), (None, None)])
def test_without_a_change_that_is_known_nothing_is_ordered(current: int | None, desired: int | None) -> None:
    assert ordered(decision(current=current, desired=desired), now=NOW) is None


@pytest.mark.parametrize("status", [OutcomeStatus.ADVISED, OutcomeStatus.REFUSED, OutcomeStatus.FAILED])
def test_only_what_was_applied_is_ordered(status: OutcomeStatus) -> None:
    observed = seen(30, target=2)
    plan, planned = decide([given(observed)], PlannerState(), now=NOW)

    assert applied(plan, planned, [observed], status=status).ledger == ()


def test_capacity_on_its_way_is_not_ordered_twice() -> None:
    memory = PlannerState()
    for tick in range(6):
        observed = seen(30, target=2 if tick == 0 else 4, ready=2, at=NOW + tick)
        plan, planned = decide([given(observed)], memory, now=NOW + tick)
        memory = applied(plan, planned, [observed], now=NOW + tick)

    assert [(order.from_replicas, order.to_replicas) for order in memory.ledger] == [(2, 4)]


def test_a_state_read_before_the_order_does_not_cancel_it() -> None:
    """Serve did not answer after the write: the window still shows the reading from before it."""
    observed = seen(30, target=2)
    plan, planned = decide([given(observed)], PlannerState(), now=NOW)
    memory = applied(plan, planned, [observed])
    serve = SourceHealth(source="serve", kind=SourceKind.SERVE, age_s=10, stale=False)

    plan, _ = decide([given(seen(30, target=2, at=NOW + 10, sources=(serve,)))], memory, now=NOW + 10)

    assert plan.ledger[0].status is OrderStatus.PENDING
    assert plan.conflicts == ()
