"""Minutes of a cloud in seconds, and no faster than work on a busy machine allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.simulated_cloud.clock import ScaledClock
from tests.clocks import VirtualClock


def test_it_runs_faster_than_the_real_one_and_never_shows_a_time_that_could_be_real() -> None:
    real = VirtualClock(1000.0)
    clock = ScaledClock(speed=30.0, real=real)
    real.advance(2.0)

    assert clock.monotonic() == 60.0
    assert clock.now() == clock.origin + 60.0
    assert clock.scaled(1001.0) == clock.origin + 30.0
    assert clock.scaled(clock.now()) == clock.now()


def test_work_that_takes_too_long_is_waited_for_and_what_waits_in_it_goes_on() -> None:
    real = VirtualClock(1000.0)
    clock = ScaledClock(speed=30.0, real=real)
    with clock.at_most(10.0):
        real.advance(1.0)  # a third of it until the limit
        assert clock.monotonic() == pytest.approx(10.0 + 2 / 3)
        real.advance(0.3)
        assert clock.monotonic() == pytest.approx(10.0 + 2 / 3 + 0.3)
    real.advance(1.0)

    assert clock.monotonic() == pytest.approx(10.0 + 2 / 3 + 0.3 + 30.0)
    assert clock.scaled(real.now()) == pytest.approx(clock.now())


@given(
    steps=st.lists(st.tuples(st.floats(0.001, 5.0), st.booleans()), min_size=1, max_size=20),
    limit=st.floats(0.1, 60.0),
)
def test_it_never_goes_back_and_never_stands_still(steps: list[tuple[float, bool]], limit: float) -> None:
    real = VirtualClock(1000.0)
    clock = ScaledClock(speed=30.0, real=real)
    for seconds, busy in steps:
        before = clock.monotonic()
        if busy:
            with clock.at_most(limit):
                real.advance(seconds)
                passed = clock.monotonic() - before
        else:
            real.advance(seconds)
            passed = clock.monotonic() - before
        assert 0.999 * seconds <= passed <= 30.001 * seconds
