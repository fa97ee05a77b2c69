"""What one endpoint showed: which answers are news, what of them is kept, and how fresh that is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.catalog import scraped
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ServeState
from controller.window.future import believed_at
from controller.window.source import Source

GAUGE, COUNTER = scraped.SERVE_PROCESSING.name, scraped.SERVE_REQUESTS.name
BOUNDED = f"{scraped.VLLM_TTFT.name}_bucket"
LABELS = (("WorkerId", "w1"), ("replica", "r1"))


def sample(name: str, value: float, labels: tuple[tuple[str, str], ...] = LABELS) -> Sample:
    return Sample(name, labels, value)


def scrape(at: float, *samples: Sample, ok: bool = True, errors: tuple[str, ...] = ()) -> Scrape:
    return Scrape(source="ray/a", kind=SourceKind.RAY, at=at, ok=ok, samples=samples, errors=errors)


def source(kind: SourceKind = SourceKind.RAY) -> Source:
    return Source("ray/a", kind, reach_s=60.0, max_age_s=30.0)


def answered(one: Source, *scrapes: Scrape) -> Source:
    for each in scrapes:
        if one.note(each, mentioned_at=each.at):
            one.record(each)
    return one


def points(one: Source, name: str) -> list[tuple[float, float]]:
    """Expire everything, to see what was there."""
    [series] = [series for found, series in one.expire(math.inf) if found == name]
    return list(zip(series.times, series.values, strict=True))


def test_before_the_first_answer_nothing_is_known() -> None:
    one = source()
    one.note(scrape(100.0, ok=False), mentioned_at=100.0)

    assert (one.last_ok_at, one.is_fresh(100.0), one.complete) == (-math.inf, False, False)
    assert (one.first_mentioned_at, one.mentioned_at) == (100.0, 100.0)
    told = one.health(100.0, stale=True)
    assert (told.source, told.kind, told.age_s, told.stale, told.error) == (
        "ray/a",
        SourceKind.RAY,
        None,
        True,
        "no answer",
    )


def test_an_answer_is_fresh_for_as_long_as_is_allowed_and_as_old_as_it_is() -> None:
    one = answered(source(), scrape(100.0))

    assert one.is_fresh(130.0)
    assert not one.is_fresh(130.1)
    assert one.health(112.0, stale=False).age_s == 12.0
    assert one.health(99.0, stale=False).age_s == 0.0
    assert one.health(112.0, stale=False).error is None


def test_only_a_newer_answer_is_news() -> None:
    one = answered(source(), scrape(100.0))

    assert not one.note(scrape(100.0), mentioned_at=101.0)
    assert not one.note(scrape(90.0), mentioned_at=102.0)
    assert not one.note(scrape(110.0, ok=False, errors=("refused", "and more")), mentioned_at=103.0)
    assert (one.first_mentioned_at, one.mentioned_at) == (100.0, 103.0)
    assert one.health(110.0, stale=False).error == "refused"
    assert not one.note(scrape(105.0, ok=False, errors=("late news",)), mentioned_at=104.0)
    assert one.health(110.0, stale=False).error == "refused"
    assert one.note(scrape(108.0), mentioned_at=105.0)
    assert one.health(110.0, stale=False).error is None
    assert one.note(scrape(120.0), mentioned_at=106.0)


def test_a_counter_that_is_not_usable_hides_nothing_beside_it() -> None:
    one = answered(source(), scrape(100.0, sample(COUNTER, math.nan), sample(GAUGE, 3.0)))

    assert points(one, GAUGE) == [(100.0, 3.0)]


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_a_gauge_that_begins_with_no_usable_number_is_there_without_one(value: float) -> None:
    [(at, found)] = points(answered(source(), scrape(100.0, sample(GAUGE, value))), GAUGE)

    assert at == 100.0
    assert math.isnan(found)


@pytest.mark.parametrize(("at", "back"), [(70.0, False), (69.9, True), (100.0, False), (200.0, False)])
def test_a_clock_that_was_set_back_shows_by_a_time_far_in_the_past(at: float, back: bool) -> None:
    one = answered(source(), scrape(100.0))

    assert one.is_clock_step_back(at) is back


def test_a_failed_attempt_dates_the_clock_too() -> None:
    one = answered(source(), scrape(100.0), scrape(150.0, ok=False))

    assert one.is_clock_step_back(119.9)
    assert not one.is_clock_step_back(120.0)


def test_points_are_kept_as_far_as_the_window_reaches() -> None:
    one = answered(source(), *(scrape(at, sample(GAUGE, at)) for at in (0.0, 20.0, 40.0, 80.0)))

    assert one.watched_from(80.0) == 80.0
    assert one.watched_from(79.0) == 40.0
    assert one.watched_from(0.0) == 20.0
    assert points(one, GAUGE) == [(20.0, 20.0), (40.0, 40.0), (80.0, 80.0)]


def test_the_newest_answer_is_kept_however_old() -> None:
    one = answered(source(), scrape(0.0, sample(GAUGE, 1.0)), scrape(500.0, sample(GAUGE, 2.0)))

    assert one.watched_from(0.0) == 500.0
    assert points(one, GAUGE) == [(500.0, 2.0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_number_that_cannot_be_is_unknown_for_a_gauge_and_left_out_for_a_counter(value: float) -> None:
    one = answered(
        source(),
        scrape(0.0, sample(GAUGE, 1.0), sample(COUNTER, 1.0)),
        scrape(10.0, sample(GAUGE, value), sample(COUNTER, value)),
        scrape(20.0, sample(GAUGE, 0.0), sample(COUNTER, 3.0)),
    )

    kept = {name: list(zip(series.times, series.values, strict=True)) for name, series in one.expire(math.inf)}
    assert kept[COUNTER] == [(0.0, 1.0), (20.0, 3.0)]
    assert [at for at, _ in kept[GAUGE]] == [0.0, 10.0, 20.0]
    assert math.isnan(kept[GAUGE][1][1])


def test_an_answer_with_numbers_that_cannot_be_is_not_whole() -> None:
    one = answered(source(), scrape(0.0, sample(GAUGE, -1.0), sample(COUNTER, math.nan)))

    assert not one.complete
    assert one.health(0.0, stale=False).error == "2 samples were left out: negative or not finite"
    assert answered(one, scrape(10.0, sample(GAUGE, 1.0))).complete
    assert not answered(one, scrape(20.0, errors=("the page ends inside a line",))).complete


def test_a_line_that_comes_twice_counts_once() -> None:
    one = answered(source(), scrape(0.0, sample(COUNTER, 1.0), sample(COUNTER, 1.0)))
    answered(one, scrape(10.0, sample(COUNTER, 4.0), sample(COUNTER, 4.0)))

    assert points(one, COUNTER) == [(0.0, 1.0), (10.0, 4.0)]


def test_samples_that_nobody_asked_for_are_left_out() -> None:
    one = answered(source(), scrape(0.0, sample("python_gc_objects", math.nan), sample(GAUGE, 1.0)))

    assert one.complete
    assert [name for name, _ in one.expire(math.inf)] == [GAUGE]


def test_what_is_new_is_told_once_with_its_process_and_bound() -> None:
    one, first = source(), scrape(0.0, sample(BOUNDED, 1.0, (*LABELS, ("le", "0.5"))), sample(GAUGE, 1.0, ()))

    one.note(first, mentioned_at=0.0)
    added = dict(one.record(first))

    assert (added[BOUNDED].process, added[BOUNDED].bound, added[BOUNDED].source) == ("w1", 0.5, "ray/a")
    assert added[GAUGE].process == ""
    assert math.isnan(added[GAUGE].bound)
    again = scrape(10.0, sample(GAUGE, 1.0, ()))
    one.note(again, mentioned_at=10.0)
    assert one.record(again) == []


@pytest.mark.parametrize(
    ("before", "process", "kept"),
    [
        pytest.param(scrape(0.0, sample(GAUGE, 1.0)), "w1", [(0.0, 0.0), (10.0, 7.0)], id="seen-without-it"),
        pytest.param(scrape(0.0, sample(GAUGE, 1.0)), "w2", [(10.0, 7.0)], id="another-process"),
        pytest.param(scrape(0.0, sample(GAUGE, 1.0), errors=("cut",)), "w1", [(10.0, 7.0)], id="seen-in-part"),
        pytest.param(scrape(0.0), "w1", [(10.0, 7.0)], id="not-seen-before"),
    ],
)
def test_a_counter_appears_with_its_first_increment(
    before: Scrape, process: str, kept: list[tuple[float, float]]
) -> None:
    new = sample(COUNTER, 7.0, (("WorkerId", process), ("replica", "r1")))

    one = answered(source(), before, scrape(10.0, new))

    assert points(one, COUNTER) == kept


def test_a_gauge_that_appears_was_not_zero_before() -> None:
    one = answered(source(), scrape(0.0, sample(COUNTER, 1.0)), scrape(10.0, sample(GAUGE, 7.0)))

    assert points(one, GAUGE) == [(10.0, 7.0)]


def test_only_a_process_in_the_newest_answer_counts_from_zero() -> None:
    one = answered(source(), scrape(0.0, sample(GAUGE, 1.0)), scrape(10.0), scrape(20.0, sample(COUNTER, 7.0)))

    assert points(one, COUNTER) == [(20.0, 7.0)]


REQUESTS = scraped.HAPROXY_REQUESTS.name
PROXY = (("proxy", "http-app"),)


def haproxy(at: float, started: float | None, *samples: Sample) -> Scrape:
    told = () if started is None else (Sample(scraped.HAPROXY_START_TIME.name, (), started),)
    return scrape(at, *told, *samples)


@pytest.mark.parametrize(
    ("kind", "started", "expected"),
    [
        pytest.param(SourceKind.HAPROXY, 95.0, [(90.0, 50.0), (95.0, 0.0), (100.0, 60.0)], id="reloaded"),
        pytest.param(SourceKind.HAPROXY, 1.0, [(90.0, 50.0), (100.0, 60.0)], id="the-same-process"),
        pytest.param(SourceKind.HAPROXY, 80.0, [(90.0, 50.0), (90.0, 0.0), (100.0, 60.0)], id="a-clock-that-lags"),
        pytest.param(SourceKind.HAPROXY, 130.0, [(90.0, 50.0), (100.0, 0.0), (100.0, 60.0)], id="a-clock-ahead"),
        pytest.param(SourceKind.HAPROXY, math.nan, [(90.0, 50.0), (100.0, 60.0)], id="no-number"),
        pytest.param(SourceKind.HAPROXY, None, [(90.0, 50.0), (100.0, 60.0)], id="not-told"),
        pytest.param(SourceKind.RAY, 95.0, [(90.0, 50.0), (100.0, 60.0)], id="not-haproxys"),
    ],
)
def test_a_reload_starts_counters_at_zero(
    kind: SourceKind, started: float | None, expected: list[tuple[float, float]]
) -> None:
    before = haproxy(90.0, 1.0, sample(REQUESTS, 50.0, PROXY))

    one = answered(source(kind), before, haproxy(100.0, started, sample(REQUESTS, 60.0, PROXY)))

    assert points(one, REQUESTS) == expected


def test_after_a_reload_new_counters_start_then_and_gauges_do_not() -> None:
    gauge = scraped.HAPROXY_SESSIONS.name
    one = answered(source(SourceKind.HAPROXY), haproxy(90.0, 1.0), haproxy(91.0, None))

    answered(one, haproxy(100.0, 95.0, sample(REQUESTS, 60.0, PROXY), sample(gauge, 2.0, PROXY)))

    kept = {name: list(zip(series.times, series.values, strict=True)) for name, series in one.expire(math.inf)}
    assert kept == {REQUESTS: [(95.0, 0.0), (100.0, 60.0)], gauge: [(100.0, 2.0)]}


def test_series_that_are_gone_are_forgotten() -> None:
    other = (("WorkerId", "w2"), ("replica", "r2"))
    one = answered(source(), scrape(0.0, sample(GAUGE, 1.0)), scrape(30.0, sample(GAUGE, 2.0, other)))

    assert [(name, series.labels) for name, series in one.expire(30.0)] == [(GAUGE, LABELS)]
    assert one.expire(30.0) == []
    assert [series.labels for _, series in one.expire(30.1)] == [other]


@pytest.mark.parametrize(("ahead_s", "believed"), [(-100.0, True), (0.0, True), (5.0, True), (5.1, False)])
def test_an_answer_from_the_future_is_a_failure(ahead_s: float, believed: bool) -> None:
    told = replace(scrape(1000.0 + ahead_s, sample(GAUGE, 1.0), errors=("cut",)), serve=ServeState(applications=()))

    taken = believed_at(told, 1000.0)

    if believed:
        assert taken is told
    else:
        assert (taken.at, taken.ok, taken.samples, taken.serve, taken.source) == (1000.0, False, (), None, "ray/a")
        assert taken.errors == ("cut", "its clock is 5 s ahead of this one; let both follow NTP")
