"""How surprising measurements are, over three memories."""

import numpy as np
import pytest

from controller.forecast.levels import Levels
from controller.forecast.unrest import Unrest

LEVELS = Levels.starting(8.0, 5.0)


def after(strides: int) -> Unrest:
    return Unrest(expected=5.0, surprises=np.array([1.0, 2.0, 3.0]), strides=strides)


def test_a_stride_is_as_surprising_as_its_measurements_on_average() -> None:
    open_stride = Unrest.starting(5.0).seeing(7.0).seeing(1.0)

    closed = open_stride.closing(LEVELS)

    assert (open_stride.total, open_stride.count) == (6.0, 2)
    assert (closed.expected, closed.strides, closed.newest) == (8.0, 1, (3.0,))
    assert (closed.total, closed.count) == (0.0, 0)
    assert closed.surprises.tolist() == [3.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("strides", "weights"),
    [
        pytest.param(0, [1.0, 1.0, 1.0], id="the-first-says-all"),
        pytest.param(3, [0.75, 0.75, 0.75], id="a-third-of-a-short-record"),
        pytest.param(99, [0.1, 0.03, 0.03], id="the-shortest-memory-is-full"),
        pytest.param(9999, [1 / 10, 1 / 60, 1 / 500], id="all-are"),
    ],
)
def test_each_memory_forgets_at_its_own_pace(strides: int, weights: list[float]) -> None:
    closed = after(strides).seeing(9.0).closing(LEVELS)

    expected = [was + weight * (4.0 - was) for was, weight in zip([1.0, 2.0, 3.0], weights, strict=True)]
    assert closed.surprises.tolist() == pytest.approx(expected)


def test_a_stride_without_a_measurement_only_moves_what_is_expected() -> None:
    closed = after(7).closing(LEVELS)

    assert (closed.expected, closed.strides, closed.newest) == (8.0, 7, ())
    assert closed.surprises.tolist() == [1.0, 2.0, 3.0]


def test_the_newest_two_dozen_are_kept() -> None:
    unrest = Unrest.starting(0.0)
    for number in range(30):
        unrest = unrest.seeing(unrest.expected + number).closing(LEVELS)

    assert unrest.newest == tuple(float(number) for number in range(6, 30))
    assert unrest.typical == 17.5
    assert Unrest.starting(1.0).typical == 0.0


def test_a_calm_hour_does_not_promise_another() -> None:
    unrest = Unrest(expected=0.0, surprises=np.array([1.0, 2.0, 10.0]))

    assert unrest.scales.tolist() == pytest.approx([3.0**0.5, 6.5, 10.0])
