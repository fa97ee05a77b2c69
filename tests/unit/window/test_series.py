"""Arithmetic of counters: restarts, birth inside the window, and the time that growth really spans."""

from __future__ import annotations

import pytest

from controller.window.series import Series, increase


def series(*points: tuple[float, float]) -> Series:
    made = Series(source="ray/a", labels=(), process="w")
    for at, value in points:
        made.append(at, value)
    return made


@pytest.mark.parametrize(
    ("values", "grown"),
    [
        ([5.0], 0.0),
        ([5.0, 5.0], 0.0),
        ([5.0, 8.0, 12.0], 7.0),
        ([10143.0, 16.0], 16.0),
        ([10.0, 2.0, 5.0, 1.0], 6.0),
        ([], 0.0),
    ],
)
def test_a_drop_is_a_restart_at_zero(values, grown):
    assert increase(values) == grown


def test_growth_starts_at_the_newest_point_before_the_window():
    growth = series((0, 100), (10, 110), (20, 130), (30, 160)).growth(15)

    assert growth is not None
    assert (growth.increase, growth.seconds) == (50.0, 20.0)


def test_one_point_of_an_old_counter_tells_no_growth():
    assert series((20, 50_000)).growth(0) is None
    assert series((20, 50_000)).growth(0, zero_at=-100) is None


def test_a_counter_born_in_the_window_counts_from_zero():
    growth = series((20, 40)).growth(0, zero_at=5)

    assert growth is not None
    assert (growth.increase, growth.seconds) == (40.0, 20.0)


def test_a_counter_that_reads_zero_had_counted_nothing_before():
    growth = series((10, 0), (20, 40)).growth(0)

    assert growth is not None
    assert (growth.increase, growth.seconds) == (40.0, 20.0)


@pytest.mark.parametrize(
    ("points", "moved"),
    [
        ([(0, 1.0)], None),
        ([(0, 1.0), (10, 1.0)], False),
        ([(0, 1.0), (10, 2.0)], True),
        ([(0, 1.0), (10, 1.0), (20, 2.0)], True),
        ([(0, 1.0), (10, 2.0), (20, 2.0)], False),
    ],
)
def test_a_counter_moved_when_its_newest_points_differ(points, moved):
    assert series(*points).moved() is moved


def test_old_points_are_dropped_but_never_the_newest():
    kept = series((0, 1), (10, 2), (20, 3))

    kept.drop_before(10)
    assert list(kept.times) == [10, 20]

    kept.drop_before(1000)
    assert list(kept.times) == [20]
