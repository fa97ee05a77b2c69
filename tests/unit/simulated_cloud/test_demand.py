"""From a trace to requests in flight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.load.bundled import named_trace
from controller.load.trace import Trace
from controller.simulated_cloud.demand import load_of
from controller.simulated_cloud.signals import REQUEST_S


def steady(rate: float, seconds: float = 960.0) -> Trace:
    times = np.arange(0.5 / rate, seconds, 1 / rate)
    tokens = np.ones(len(times), dtype=np.int64)
    return Trace(name="steady", t_s=times, prompt_tokens=tokens, output_tokens=tokens, length_s=seconds)


@given(at=st.floats(0.0, 1e6), speed=st.floats(0.1, 100.0), scale=st.floats(0.1, 100.0))
def test_requests_in_flight_are_their_rate_by_their_time_whenever_one_looks(
    at: float, speed: float, scale: float
) -> None:
    load = load_of(steady(2.0), speed=speed, scale=scale)

    assert load(at) == pytest.approx(2.0 * speed * scale * REQUEST_S)


def test_the_bundled_trace_rises_threefold_and_falls_and_begins_again() -> None:
    trace, _ = named_trace("day_rise_fall")
    load = load_of(trace, speed=3.0, scale=12.0)
    lap_s = trace.length_s / 3.0
    shape = [load(at) for at in np.linspace(0.0, lap_s, 200)]

    assert max(shape) > 2.5 * shape[5]
    assert load(100.0 + lap_s) == pytest.approx(load(100.0))
