"""Columns of the last hour: what is kept, what is unknown, what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.web.moments import Moments, plain, sparkline
from controller.web.words import figure, path, seconds
from tests.records import decision, deployment_record, snapshot


@given(size=st.integers(1, 50), ticks=st.integers(0, 400))
def test_the_newest_ticks_are_kept_in_order(size: int, ticks: int) -> None:
    moments = Moments(size)

    for tick in range(ticks):
        moments.add(float(tick), deployment_record())

    assert moments.at().tolist() == [float(tick) for tick in range(max(0, ticks - size), ticks)]
    assert len(moments.column("ready")) == len(moments) == min(size, ticks)


def test_only_what_is_later_is_returned() -> None:
    moments = Moments(10)
    for tick in range(5):
        moments.add(10.0 * tick, deployment_record())

    assert moments.at(after=20.0).tolist() == [30.0, 40.0]
    assert moments.column("target", after=40.0).tolist() == []


def test_a_smaller_size_drops_the_oldest_at_once() -> None:
    moments = Moments(10)
    for tick in range(10):
        moments.add(float(tick), deployment_record())

    moments.resize(3)

    assert moments.at().tolist() == [7.0, 8.0, 9.0]


def test_what_is_unknown_is_null_and_not_zero() -> None:
    moments = Moments(4)
    unknown = snapshot(target_replicas=None, replicas=None, errors_per_s=Unknown("no series"))
    moments.add(0.0, deployment_record(snapshot=unknown, decision=decision(desired=None, forecasts=())))

    for name in ("ready", "target", "wanted", "errors"):
        assert plain(moments.column(name)) == [None], name
    assert plain(moments.of_signal(Signal.ONGOING_REQUESTS, "p90")) == [None]
    assert plain(moments.of_signal(Signal.DECODE_TOKENS, "demand")) == [None]


def test_a_tick_keeps_demand_forecast_and_capacity_of_each_signal() -> None:
    moments = Moments(4)
    moments.add(0.0, deployment_record())

    found = {
        name: plain(moments.of_signal(Signal.ONGOING_REQUESTS, name))[0] for name in ("demand", "p50", "p90", "each")
    }

    assert found == {"demand": 6.0, "p50": 7.0, "p90": 12.0, "each": 3.0}
    assert plain(moments.column("load")) == [2.0]
    assert moments.signal is Signal.ONGOING_REQUESTS


def test_a_sparkline_shows_the_highest_of_each_stretch_and_gaps() -> None:
    values = np.array([1, 5, 2, math.nan, math.nan, math.nan, 3, 1, 4], dtype=np.float32)

    assert sparkline(values, 3) == [5.0, None, 4.0]


def test_a_path_is_broken_where_nothing_is_known() -> None:
    assert path([0.0, 1.0, None, 2.0], top=2.0, width=30, height=12) == "M0 11.0L10 6.0M30 1.0"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "\N{EN DASH}"), (0.0, "0"), (1234.5, "1,234"), (0.01234, "0.0123")]
)
def test_unknown_has_its_own_sign(value: float | None, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0421, "42.1 ms"), (0.9996, "1 s"), (0.9994, "999 ms"), (1.5, "1.5 s"), (None, "\N{EN DASH}")],
)
def test_latencies_are_shown_in_the_unit_that_suits_them(value: float | None, shown: str) -> None:
    assert seconds(value) == shown
