"""Burn rates from ticks: the alerts' definition, on totals that are thinned with age."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.slo import FAST, SLOW
from controller.domain.identity import DeploymentId
from controller.domain.objective import Events, Objective
from controller.domain.record import TickRecord
from controller.webhooks.budgets import Spending, budgets, burning, counted
from tests.records import CHAT, deployment_record, record, snapshot

HOUR = 3600.0
KEY = f"{CHAT}/ttft"


def ticks(spans: list[tuple[float, float, float]], *, every_s: float = 10.0) -> list[TickRecord]:
    """Records over spans of (seconds, first tokens per second, late ones among them)."""
    made, at = [], 0.0
    for seconds, per_s, bad_per_s in spans:
        events = {Objective.TTFT: Events(per_s=per_s, bad_per_s=bad_per_s)}
        for _ in range(int(seconds / every_s)):
            at += every_s
            made.append(record(deployment_record(snapshot=snapshot(objectives=events)), at=at))
    return made


def after(records: list[TickRecord]) -> Spending:
    spent: dict[str, Spending] = {}
    for one in records:
        spent = counted(spent, one)
    return spent[KEY]


@pytest.mark.parametrize(
    ("spans", "fast", "slow"),
    [
        pytest.param([(HOUR, 1, 0.73)], "1h", "1d", id="14.6 times"),
        pytest.param([(HOUR, 1, 0.71)], "6h", "1d", id="14.2 times"),
        pytest.param([(HOUR, 1, 0.29)], None, "1d", id="5.8 times"),
        pytest.param([(HOUR, 1, 0.14)], None, "3d", id="2.8 times"),
        pytest.param([(HOUR, 1, 0.04)], None, None, id="0.8 times"),
        pytest.param([(HOUR, 1, 1.0), (400, 1, 0.0)], "6h", "1d", id="well for 400 s: the shortest window resets"),
        pytest.param([(HOUR, 1, 1.0), (2 * HOUR, 1, 0.0)], None, "3d", id="well for two hours"),
        pytest.param([(3 * HOUR, 1, 0.0), (300, 1, 1.0)], None, None, id="five bad minutes in three hours"),
        pytest.param([(HOUR, 1, 0.0)], None, None, id="nothing late"),
        pytest.param([(HOUR, 0, 0.0)], None, None, id="silence"),
    ],
)
def test_two_windows_must_both_burn(
    spans: list[tuple[float, float, float]], fast: str | None, slow: str | None
) -> None:
    spending = after(ticks(spans))

    found = [burning(spending, pace, 0.95) for pace in (FAST, SLOW)]

    assert [one and one.long for one in found] == [fast, slow]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(10, 7200), st.floats(0, 50), st.floats(0, 1)), min_size=1, max_size=8),
    st.sampled_from([300.0, 1800.0, HOUR, 2 * HOUR, 6 * HOUR]),
)
def test_thinned_totals_tell_nearly_what_all_ticks_add_up_to(
    drawn: list[tuple[float, float, float]], span_s: float
) -> None:
    made = ticks([(seconds, per_s, per_s * share) for seconds, per_s, share in drawn], every_s=10.0)
    if len(made) < 2:
        return

    events, bad = after(made).within(span_s)

    now = made[-1].at
    rates = [(one.at, one.deployments[0].snapshot.objectives[Objective.TTFT]) for one in made[1:]]
    # A window may begin up to a twelfth earlier or later than asked for.
    longest = sum(10 * rate.per_s for at, rate in rates if at > now - span_s * 13 / 12 - 35)
    shortest = sum(10 * rate.per_s for at, rate in rates if at > now - span_s * 11 / 12 + 35)
    assert shortest - 1e-6 <= events <= longest + 1e-6
    assert -1e-6 <= bad <= events + 1e-6


def test_three_days_are_kept_in_a_few_numbers() -> None:
    spending = after(ticks([(4 * 24 * HOUR, 1, 0.0)], every_s=60))

    assert len(spending.past) < 140
    assert spending.within(3 * 24 * HOUR)[0] == pytest.approx(3 * 24 * HOUR, rel=0.001)


def test_a_gap_counts_nothing() -> None:
    first, second = ticks([(20, 1, 1.0)])

    spending = after([first, replace(second, at=first.at + HOUR)])

    assert spending.within(2 * HOUR) == (300.0, 300.0)
    assert spending.within(HOUR / 2) == (300.0, 300.0)


def test_a_clock_that_is_set_back_begins_anew() -> None:
    made = ticks([(HOUR, 1, 1.0)])

    assert after([*made, replace(made[0], at=5.0)]).within(HOUR) == (0.0, 0.0)


def test_an_application_has_one_budget_for_requests_the_strictest() -> None:
    other = DeploymentId(CHAT.application, "Other")
    seen = {Objective.SUCCESS: Events(per_s=4.0, bad_per_s=1.0)}
    entries = [
        deployment_record(
            snapshot=snapshot(of, objectives=seen), terms=replace(deployment_record().terms, success_ratio=ratio)
        )
        for of, ratio in ((CHAT, 0.99), (other, 0.999))
    ]

    found = {one.key: one for one in budgets(record(*entries))}

    assert set(found) == {f"{CHAT}/ttft", f"{CHAT}/itl", f"{other}/ttft", f"{other}/itl", "chat/success"}
    assert (found["chat/success"].promised, found["chat/success"].events) == (0.999, seen[Objective.SUCCESS])
    assert found[f"{CHAT}/ttft"].events is None


def test_what_the_policy_no_longer_promises_is_forgotten() -> None:
    spent = counted({}, record())

    assert counted(spent, record(replace(deployment_record(), terms=None), at=2000.0)) == {}
