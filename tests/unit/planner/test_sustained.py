"""Means over about a start-up and over half a minute, and what a single reading proves."""

import pytest

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.snapshot import History
from controller.planner.sustained import beyond_chance, recent, sustained, sustained_s

NOW = 1000.0


def past(*values: float | None, ends_s_ago: float = 0.0) -> History:
    return History(start=NOW - ends_s_ago - 10.0 * len(values), step_s=10.0, values=values)


@pytest.mark.parametrize(
    ("history", "mean"),
    [
        pytest.param(past(*[9.0] * 5, *[1.0, 3.0] * 6), 2.0, id="two-minutes-and-no-more"),
        pytest.param(past(None, 4.0, None, 4.0, 1.0), 3.0, id="gaps-are-not-zero"),
        pytest.param(past(4.0, 4.0, 4.0), 4.0, id="half-a-minute-is-enough"),
        pytest.param(past(4.0, 4.0), None, id="too-little-is-known"),
        pytest.param(past(*[4.0] * 12, ends_s_ago=100.0), None, id="what-was-known-is-too-old"),
        pytest.param(past(), None, id="nothing-was-ever-known"),
    ],
)
def test_mean_of_what_lasts(history: History, mean: float | None) -> None:
    assert sustained(history, over_s=120.0, now=NOW) == mean


@pytest.mark.parametrize(
    ("start_up_s", "over_s"),
    [(5.0, 60.0), (60.0, 60.0), (90.0, 90.0), (120.0, 120.0), (1200.0, 120.0)],
)
def test_a_load_lasts_when_it_is_there_for_a_start_up(start_up_s: float, over_s: float) -> None:
    lead = LeadTime(p50_s=1.0, p90_s=start_up_s, p95_s=2000.0, source=LeadSource.POLICY, samples=0)

    assert sustained_s(lead) == over_s
    assert sustained(past(*[9.0] * 12, *[1.0] * 6), over_s=sustained_s(lead), now=NOW) == pytest.approx(
        {60.0: 1.0, 90.0: (1.0 * 6 + 9.0 * 3) / 9, 120.0: 5.0}[over_s]
    )


@pytest.mark.parametrize(
    ("history", "mean", "seconds"),
    [
        pytest.param(past(), 7.0, 0.0, id="a-single-reading"),
        pytest.param(past(1.0), 4.0, 10.0, id="as-far-as-it-is-known"),
        pytest.param(past(99.0, 1.0, 1.0, 3.0), 3.0, 30.0, id="half-a-minute-and-no-more"),
        pytest.param(past(99.0, 1.0, None, None), 4.0, 30.0, id="gaps-are-not-zero"),
        pytest.param(past(*[1.0] * 6, ends_s_ago=60.0), 7.0, 0.0, id="what-was-known-is-too-old"),
    ],
)
def test_mean_of_what_is_in_flight(history: History, mean: float, seconds: float) -> None:
    found = recent(history, 7.0, now=NOW)

    assert (found.mean, found.seconds) == (mean, seconds)
    assert found.is_brief(history) is (seconds < 20.0)


@pytest.mark.parametrize(
    ("count", "mean", "proven"),
    [(0.0, 0.0, 0.0), (1.0, 4.0, 0.0), (10.0, 4.0, 8.0), (100.0, 100.0, 90.0), (7.0, 0.0, 7.0)],
)
def test_a_reading_proves_what_chance_cannot_explain(count: float, mean: float, proven: float) -> None:
    assert beyond_chance(count, mean) == proven
