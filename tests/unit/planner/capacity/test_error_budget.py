"""A forecast's quantile rises with what is missed, and comes back when it is not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.capacity import ServiceRecord
from controller.domain.engine import ServiceOutcomes
from controller.planner.capacity.error_budget import MOST_CAREFUL, careful, served

SHARE = st.floats(0, 1)
REQUESTS = st.floats(0, 1e7)

ALLOWED = 0.0025


def outcomes(requests: float, late: float) -> ServiceOutcomes:
    return ServiceOutcomes(seconds=30, first_tokens=requests, late=late)


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        pytest.param(0.0, 0.7, id="nothing-missed"),
        pytest.param(0.0025, 0.7, id="as-allowed"),
        pytest.param(0.005, 0.85, id="twice-as-many"),
        pytest.param(0.01, 0.925, id="four-times-as-many"),
        pytest.param(0.5, 0.98, id="never-beyond-what-is-forecast"),
    ],
)
def test_the_accepted_chance_shrinks_in_proportion_to_what_is_missed(missed: float, expected: float) -> None:
    record = ServiceRecord(at=0.0, requests=99_000.0, missed=100_000.0 * missed)

    assert careful(0.7, record, allowed=ALLOWED) == pytest.approx(expected)


def test_without_a_record_the_policy_decides() -> None:
    assert careful(0.7, None, allowed=ALLOWED) == 0.7


def test_a_policy_that_is_more_careful_stays_so() -> None:
    assert careful(0.99, ServiceRecord(at=0.0, requests=1e6, missed=1e5), allowed=ALLOWED) == 0.99


@pytest.mark.parametrize(
    ("at", "kept"),
    [(100.0, 1.0), (40.0, 1.0), (100.0 + 6 * 3600, math.exp(-1))],
    ids=["at-once", "clock-back", "later"],
)
def test_the_record_fades_over_a_quarter_of_a_day(at: float, kept: float) -> None:
    record = served(ServiceRecord(at=100.0, requests=1000.0, missed=200.0), outcomes(50, 20), at=at)

    assert record.at == at
    assert record.requests == pytest.approx(kept * 1000.0 + 50.0)
    assert record.missed == pytest.approx(kept * 200.0 + 20.0)


def test_the_misses_of_a_first_minute_decide_nothing() -> None:
    record = served(None, outcomes(50, 2), at=30.0)

    assert careful(0.7, record, allowed=ALLOWED) == 0.7


def test_an_overload_is_remembered_for_hours_and_then_forgotten() -> None:
    record = served(None, outcomes(20_000, 2_000), at=0.0)
    after = {0: careful(0.7, record, allowed=ALLOWED)}
    for hour in range(1, 37):
        record = served(record, outcomes(2_000, 0), at=hour * 3600.0)
        after[hour] = careful(0.7, record, allowed=ALLOWED)

    assert after[0] == MOST_CAREFUL
    assert 0.9 < after[12] < MOST_CAREFUL
    assert after[36] == 0.7


@given(st.floats(0.01, 0.99), REQUESTS, SHARE, SHARE)
def test_more_misses_never_make_less_careful(quantile: float, requests: float, one: float, other: float) -> None:
    fewer, more = sorted((one, other))

    low = careful(quantile, ServiceRecord(at=0.0, requests=requests, missed=requests * fewer), allowed=ALLOWED)
    high = careful(quantile, ServiceRecord(at=0.0, requests=requests, missed=requests * more), allowed=ALLOWED)

    assert quantile <= low <= high <= max(quantile, MOST_CAREFUL)


def test_a_policy_that_allows_every_miss_keeps_its_quantile() -> None:
    assert careful(0.5, ServiceRecord(at=0.0, requests=400.0, missed=400.0), allowed=1.0) == 0.5
