"""Gauges that are believed, and rates over the real time that they span."""

from __future__ import annotations

import math

import pytest

from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Scrape, SourceKind
from controller.window.reach import Moment, Rate, first_unknown, summed, total
from controller.window.series import Series
from controller.window.window import Window

NOW = 100.0


def series(*points: tuple[float, float], source: str = "ray/a") -> Series:
    made = Series(source=source, labels=(), process="w")
    for at, value in points:
        made.append(at, value)
    return made


def moment(*answers: float, source: str = "ray/a", errors: tuple[str, ...] = ()) -> Moment:
    """A window of 30 s in which a source answered at these times, as seen at ``NOW``."""
    window = Window(window_s=30.0, max_age_s=20.0)
    for at in answers:
        window.record(Scrape(source=source, kind=SourceKind.RAY, at=at, ok=True, errors=errors))
    return Moment(window, NOW)


def test_a_time_in_the_future_is_of_now() -> None:
    assert (moment().age(90.0), moment().age(101.0)) == (10.0, 0.0)


@pytest.mark.parametrize(
    ("shown", "believed"),
    [
        pytest.param([series((80.0, 3.0))], Known(3.0, 20.0), id="young-enough"),
        pytest.param([series((79.9, 3.0))], None, id="too-old"),
        pytest.param([series((80.0, 3.0)), series((95.0, 1.0))], Known(1.0, 5.0), id="the-newest"),
        pytest.param([series((95.0, 3.0)), series((95.0, 5.0))], Known(5.0, 5.0), id="the-larger-of-two-as-new"),
        pytest.param([series((90.0, 3.0)), series((95.0, math.nan))], Known(3.0, 10.0), id="the-newest-usable"),
        pytest.param([series((95.0, math.nan))], None, id="unusable"),
        pytest.param([], None, id="none"),
    ],
)
def test_a_gauge_is_its_newest_usable_value(shown: list[Series], believed: Known | None) -> None:
    assert moment().believed(shown) == believed


@pytest.mark.parametrize(
    ("counters", "rate"),
    [
        pytest.param([series((70.0, 10.0), (100.0, 40.0))], Rate(1.0, 30.0, 0.0), id="over-the-window"),
        pytest.param([series((85.0, 10.0), (100.0, 40.0))], Rate(2.0, 15.0, 0.0), id="half-a-window-will-do"),
        pytest.param([series((85.1, 10.0), (100.0, 40.0))], None, id="less-is-noise"),
        pytest.param(
            [series((70.0, 10.0), (100.0, 40.0)), series((75.0, 0.5), (95.0, 10.5))],
            Rate(1.5, 20.0, 5.0),
            id="several-add-up-as-short-and-old-as-each",
        ),
        pytest.param([series((70.0, 10.0), (100.0, 40.0)), series((100.0, 9.0))], None, id="one-is-unknown"),
        pytest.param([series((50.0, 1.0), (79.0, 2.0))], None, id="too-old"),
        pytest.param([], None, id="none"),
    ],
)
def test_a_rate_is_over_the_time_that_it_spans(counters: list[Series], rate: Rate | None) -> None:
    assert moment(100.0).rate(counters) == rate


def test_a_rate_from_a_source_that_is_stale_is_unknown() -> None:
    assert moment(79.0).rate([series((70.0, 1.0), (100.0, 2.0))]) is None


def test_a_birth_in_the_window_counts_from_zero() -> None:
    assert moment(100.0).rate([series((90.0, 30.0), (100.0, 40.0))], zero_at=80.0) == Rate(40.0 / 30.0, 30.0, 0.0)


@pytest.mark.parametrize(
    ("answers", "errors", "rate"),
    [
        pytest.param((60.0, 80.0, 95.0), (), Rate(0.0, 35.0, 5.0), id="watched"),
        pytest.param((80.0, 95.0), (), Rate(0.0, 15.0, 5.0), id="watched-for-a-part"),
        pytest.param((60.0, 79.0), (), None, id="stale"),
        pytest.param((60.0, 95.0), ("cut",), None, id="read-in-part"),
    ],
)
def test_what_a_whole_page_does_not_show_never_counted(
    answers: tuple[float, ...], errors: tuple[str, ...], rate: Rate | None
) -> None:
    seen = moment(*answers, errors=errors)

    assert seen.quiet(seen.window.source("ray/a")) == rate


def test_a_series_is_shown_while_the_newest_answer_has_it() -> None:
    seen = moment(90.0, 95.0)

    assert seen.is_shown(series((95.0, 1.0)))
    assert not seen.is_shown(series((90.0, 1.0)))
    assert seen.is_fresh(series((90.0, 1.0)))
    assert not moment(79.0).is_fresh(series((79.0, 1.0)))
    assert (seen.now, seen.since, seen.stale_ray, moment(79.0).stale_ray) == (100.0, 70.0, (), ("ray/a",))
    assert ([one.name for one in seen.ray], seen.haproxies) == (["ray/a"], ())


def test_sums_are_as_short_and_as_old_as_their_parts() -> None:
    assert summed([]) is None
    assert summed([Rate(1.0, 30.0, 2.0), Rate(2.0, 20.0, 5.0)]) == Rate(3.0, 20.0, 5.0)
    assert total([]) == Known(0.0, 0.0)
    assert total([Known(1.0, 2.0), Known(2.0, 5.0)]) == Known(3.0, 5.0)
    assert Rate(1.0, 30.0, 2.0).reading() == Known(1.0, 2.0)


def test_the_first_unknown_is_told() -> None:
    assert first_unknown([Known(1.0), Unknown("a"), Unknown("b")]) == Unknown("a")
    assert first_unknown([Known(1.0)]) is None
