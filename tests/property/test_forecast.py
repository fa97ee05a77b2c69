"""Laws every forecast obeys, whatever the history."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.forecast import Forecast
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.adaptive import AdaptiveForecaster

bins = st.one_of(st.none(), st.floats(0, 1e6, allow_nan=False))
histories = st.lists(bins, max_size=120)
horizons = st.floats(1, 1200)


def forecast(values: list[float | None], horizon_s: float) -> Forecast | Unknown:
    history = History(start=0, step_s=5, values=tuple(values))
    return AdaptiveForecaster().forecast(
        history, Signal.REQUESTS, now=history.end, horizon_s=horizon_s, quantiles=(0.1, 0.5, 0.9, 0.99)
    )


@settings(max_examples=150, deadline=None)
@given(histories, horizons)
def test_a_forecast_is_sorted_finite_and_not_negative_or_says_why_not(
    values: list[float | None], horizon_s: float
) -> None:
    answer = forecast(values, horizon_s)

    if isinstance(answer, Unknown):
        assert answer.reason
        return
    quantiles = [value for _, value in answer.quantiles]
    assert quantiles == sorted(quantiles)
    assert all(math.isfinite(value) and value >= 0 for value in quantiles)


@settings(max_examples=100, deadline=None)
@given(histories.filter(lambda values: any(value is not None for value in values)), horizons)
def test_a_forecast_is_bounded_by_what_was_seen(values: list[float | None], horizon_s: float) -> None:
    answer = forecast(values, horizon_s)

    if isinstance(answer, Forecast):
        highest = max(value for value in values if value is not None)
        longest = max(1.0, horizon_s / 5)
        assert answer.quantile(0.99) <= highest * (2 + 6 * math.sqrt(longest)) + 1e-6


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 1e6), st.integers(12, 200), horizons)
def test_a_constant_demand_is_forecast_as_it_is(level: float, count: int, horizon_s: float) -> None:
    answer = forecast([level] * count, horizon_s)

    assert isinstance(answer, Forecast)
    assert all(math.isclose(value, level, rel_tol=1e-9, abs_tol=1e-9) for _, value in answer.quantiles)


@settings(max_examples=80, deadline=None)
@given(histories, horizons, st.sampled_from([0.25, 4.0, 1024.0]))
def test_the_unit_of_a_signal_does_not_matter(values: list[float | None], horizon_s: float, factor: float) -> None:
    plain = forecast(values, horizon_s)
    scaled = forecast([None if value is None else value * factor for value in values], horizon_s)

    if isinstance(plain, Forecast):
        assert isinstance(scaled, Forecast)
        for (_, small), (_, large) in zip(plain.quantiles, scaled.quantiles, strict=True):
            assert math.isclose(small * factor, large, rel_tol=1e-6, abs_tol=1e-3)
