"""Means over about a start-up and over half a minute, and what a single reading proves."""

import pytest

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.planner.sustained import beyond_chance, recent, sustained, sustained_s
from controller.window.history import DemandHistory
from tests.planning import CHAT, seen

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
    assert sustained(history, over_s=120.0, interval_s=10.0, now=NOW) == mean


@pytest.mark.parametrize(
    ("start_up_s", "over_s"),
    [(5.0, 60.0), (60.0, 60.0), (90.0, 90.0), (120.0, 120.0), (1200.0, 120.0)],
)
def test_a_load_lasts_when_it_is_there_for_a_start_up(start_up_s: float, over_s: float) -> None:
    lead = LeadTime(p50_s=1.0, p90_s=start_up_s, p95_s=2000.0, source=LeadSource.POLICY, samples=0)

    assert sustained_s(lead) == over_s
    assert sustained(
        past(*[9.0] * 12, *[1.0] * 6), over_s=sustained_s(lead), interval_s=10.0, now=NOW
    ) == pytest.approx({60.0: 1.0, 90.0: (1.0 * 6 + 9.0 * 3) / 9, 120.0: 5.0}[over_s])


@pytest.mark.parametrize(
    ("history", "mean", "brief"),
    [
        pytest.param(past(), 7.0, True, id="a-single-reading"),
        pytest.param(past(1.0), 4.0, True, id="as-far-as-it-is-known"),
        pytest.param(past(1.0, 1.0), 3.0, False, id="known-for-half-a-minute-as-far-as-bins-tell"),
        pytest.param(past(99.0, 1.0, 1.0, 3.0), 3.0, False, id="half-a-minute-and-no-more"),
        pytest.param(past(99.0, 1.0, None, None), 4.0, False, id="gaps-are-not-zero"),
        pytest.param(past(1.0, 1.0, None, None, 3.0), 5.0, True, id="nothing-but-what-came-just-now"),
        pytest.param(past(*[1.0] * 6, ends_s_ago=60.0), 7.0, True, id="what-was-known-is-too-old"),
    ],
)
def test_mean_of_what_is_in_flight(history: History, mean: float, brief: bool) -> None:
    found = recent(history, 7.0, interval_s=10.0, now=NOW)

    assert (found.mean, found.brief) == (mean, brief)


@pytest.mark.parametrize("interval_s", [1.0, 2.0, 5.0, 7.0, 10.0, 13.0, 30.0, 60.0, 300.0])
@pytest.mark.parametrize("phase", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_what_is_read_at_every_tick_is_known_whenever_in_a_bin_the_ticks_are(interval_s: float, phase: float) -> None:
    """Ticks are not aligned to bins, and most of these are empty when ticks are rarer."""
    whole = DemandHistory(step_s=5.0)
    begin = NOW + 5.0 * phase
    began = {}
    for tick in range(400):
        now = begin + tick * interval_s
        whole.record(seen(2.0, at=now))
        history = whole.history(CHAT, Signal.ONGOING_REQUESTS)
        began[now - begin] = recent(history, 2.0, interval_s=interval_s, now=now).brief
        if now - begin > max(60.0, 2 * interval_s) + 10.0:
            lasting = sustained(history, over_s=max(60.0, 2 * interval_s), interval_s=interval_s, now=now)
            assert lasting == pytest.approx(2.0)

    assert began[0.0]
    assert all(brief for since, brief in began.items() if since < 20.0)
    assert not any(brief for since, brief in began.items() if since >= max(40.0, interval_s))


@pytest.mark.parametrize(
    ("count", "mean", "proven"),
    [(0.0, 0.0, 0.0), (1.0, 4.0, 0.0), (10.0, 4.0, 8.0), (100.0, 100.0, 90.0), (7.0, 0.0, 7.0)],
)
def test_a_reading_proves_what_chance_cannot_explain(count: float, mean: float, proven: float) -> None:
    assert beyond_chance(count, mean) == proven
