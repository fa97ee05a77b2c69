"""What replicas cost: every second of a replica is counted once, and unknown time nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.plan import Reason, Step
from controller.domain.record import DeploymentRecord
from controller.domain.snapshot import ReplicaCounts
from controller.web.spending import Account, Spent, scaled, spent
from tests.records import decision, deployment_record, snapshot


def entry(*, ready: int, starting: int = 0, stopping: int = 0, needed: int = 1) -> DeploymentRecord:
    return deployment_record(
        snapshot=snapshot(replicas=ReplicaCounts(ready=ready, starting=starting, stopping=stopping)),
        decision=decision(steps=(Step("reactive", needed, Reason.DEMAND),)),
    )


@given(
    ready=st.integers(0, 50),
    starting=st.integers(0, 9),
    stopping=st.integers(0, 9),
    needed=st.integers(0, 60),
    seconds=st.floats(0.1, 300),
)
def test_every_replica_second_has_one_place(
    ready: int, starting: int, stopping: int, needed: int, seconds: float
) -> None:
    found = spent(entry(ready=ready, starting=starting, stopping=stopping, needed=needed), seconds)

    assert found.held == pytest.approx((ready + starting + stopping) * seconds)
    assert found.needed <= ready * seconds + 1e-9
    assert min(found.needed, found.spare, found.waste) >= 0
    assert found.oracle == pytest.approx(needed * seconds)


def test_a_tick_lasts_until_the_next_one() -> None:
    account = Account()
    for at, ready in ((0.0, 2), (10.0, 3), (30.0, 3)):
        account.add(at, entry(ready=ready))

    total = account.total()

    assert total.watched_s == 30.0
    assert total.held == 2 * 10 + 3 * 20
    assert total.at_peak == 3 * 30
    assert total.at_limit == 4 * 30


def test_a_time_that_nobody_watched_is_not_counted() -> None:
    account = Account()
    for at in (0.0, 10.0, 5000.0, 5010.0, 5005.0):
        account.add(at, entry(ready=2))

    assert account.total().watched_s == 20.0


def test_what_is_not_known_counts_as_unknown() -> None:
    account = Account()
    account.add(0.0, deployment_record(snapshot=snapshot(replicas=None)))
    account.add(10.0, entry(ready=2))

    assert account.total() == Spent(unknown_s=10.0)


def test_only_the_last_hours_are_kept() -> None:
    account = Account(hours=2)
    for minute in range(0, 301, 5):
        account.add(60.0 * minute, entry(ready=1))

    assert account.total().watched_s <= 2 * 3600 + 300
    assert account.total(since=60.0 * 300).watched_s < account.total().watched_s


def test_gpus_and_money_scale_with_the_replicas() -> None:
    assert scaled(Spent(watched_s=10, needed=20, spare=5, peak=3), 4).held == 100
    assert scaled(Spent(watched_s=10, peak=3), 4).at_peak == 120
