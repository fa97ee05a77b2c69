"""What came of a decision, told from later records."""

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.plan import Action, Order, OrderStatus, Outcome, OutcomeStatus
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.snapshot import ReplicaCounts
from controller.explain.aftermath import aftermath
from tests.records import CHAT, EMBED, decision, deployment_record, record, snapshot

ORDER = Order(id=CHAT, ordered_at=1000.0, from_replicas=2, to_replicas=3, deadline=1045.0)
ARRIVED = replace(ORDER, status=OrderStatus.ARRIVED, closed_at=1024.0)


def done(**changes: Any) -> DeploymentRecord:
    """A deployment's part in which 2 → 3 was applied, unless it says otherwise."""
    outcome = Outcome(id=CHAT, status=changes.pop("status", OutcomeStatus.APPLIED))
    return deployment_record(decision=decision(**changes), outcome=outcome)


def later(
    after_s: float, *, ledger: tuple[Order, ...] = (), target: int | None = 3, counts: Any = (2, 1, 0)
) -> TickRecord:
    replicas = ReplicaCounts(ready=counts[0], starting=counts[1], stopping=counts[2]) if counts else None
    seen = snapshot(target_replicas=target, replicas=replicas)
    return record(deployment_record(snapshot=seen), tick=8, at=1000.0 + after_s, ledger=ledger)


def told(entry: DeploymentRecord, *following: TickRecord, ledger: tuple[Order, ...] = (ORDER,)) -> str | None:
    return aftermath(record(entry, ledger=ledger), entry, following)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param(ARRIVED, "3 replicas ready 24 s after the order, in time (due within 45 s)", id="arrived"),
        pytest.param(
            replace(ARRIVED, closed_at=1061.0),
            "3 replicas ready 61 s after the order, late (due within 45 s)",
            id="late",
        ),
        pytest.param(
            replace(ORDER, status=OrderStatus.LATE),
            "late: still not ready 50 s after the order (due 1970-01-01T00:17:25Z)",
            id="still-late",
        ),
        pytest.param(
            replace(ORDER, status=OrderStatus.CANCELLED, closed_at=1020.0),
            "the order was cancelled after 20 s, before it arrived",
            id="cancelled",
        ),
        pytest.param(ORDER, "on its way: not ready 50 s after the order (due 1970-01-01T00:17:25Z)", id="pending"),
    ],
)
def test_an_order_is_followed_through_the_ledger(order: Order, expected: str) -> None:
    assert told(done(), later(10.0, ledger=(ORDER,)), later(50.0, ledger=(order,))) == expected


def test_an_order_that_left_the_ledger_is_told_as_it_was_last_seen() -> None:
    assert told(done(), later(30.0, ledger=(ARRIVED,)), later(2000.0)) == (
        "3 replicas ready 24 s after the order, in time (due within 45 s)"
    )


def test_the_orders_of_other_deployments_and_times_are_not_taken_for_it() -> None:
    others = (replace(ARRIVED, id=EMBED), replace(ARRIVED, ordered_at=900.0))

    assert told(done(), later(20.0, ledger=others), ledger=others) == (
        "3 replicas not reached 20 s later: 2 ready, 1 starting, 0 stopping"
    )


def test_without_an_order_ready_replicas_are_counted() -> None:
    assert told(done(), later(10.0), later(30.0, counts=(3, 0, 0)), ledger=()) == "3 replicas ready 30 s later"


@pytest.mark.parametrize(
    ("following", "expected"),
    [
        pytest.param(
            [later(10.0, target=1, counts=(1, 0, 1)), later(20.0, target=1, counts=(1, 0, 0))],
            "down to 1 replica 20 s later",
            id="given-back",
        ),
        pytest.param(
            [later(10.0, target=1, counts=(1, 0, 1))],
            "1 replica not reached 10 s later: 1 ready, 0 starting, 1 stopping",
            id="still-stopping",
        ),
        pytest.param([later(10.0, counts=None)], "1 replica not reached 10 s later: unknown", id="unknown"),
        pytest.param([], "no later record yet", id="too-early"),
    ],
)
def test_a_scale_down_is_done_when_nothing_stops_any_more(following: list[TickRecord], expected: str) -> None:
    assert told(done(action=Action.SCALE_DOWN, current=2, desired=1), *following, ledger=()) == expected


@pytest.mark.parametrize("status", [OutcomeStatus.FAILED, OutcomeStatus.PENDING])
@pytest.mark.parametrize(
    ("following", "expected"),
    [
        pytest.param([later(5.0, target=None), later(10.0)], "target found at 3 10 s later: it took effect", id="yes"),
        pytest.param([later(10.0, target=2)], "target found at 2 10 s later: it did not take effect", id="no"),
        pytest.param([], "no later record tells whether it took effect", id="unknown"),
    ],
)
def test_an_unconfirmed_write_is_settled_by_the_target_found_later(
    status: OutcomeStatus, following: list[TickRecord], expected: str
) -> None:
    assert told(done(status=status), *following) == expected


@pytest.mark.parametrize(
    "entry",
    [
        done(action=Action.NONE, desired=2, status=OutcomeStatus.NOTHING_TO_DO),
        done(action=Action.NONE, desired=None, status=OutcomeStatus.NOTHING_TO_DO),
        done(status=OutcomeStatus.ADVISED),
        done(status=OutcomeStatus.REFUSED),
    ],
)
def test_nothing_comes_of_what_was_not_done(entry: DeploymentRecord) -> None:
    assert told(entry, later(10.0)) is None
