"""The forecast as the planner sees it: sane when cold, quick on a ramp, calm again after a drop."""

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.adaptive import AdaptiveForecaster

STEP_S = 5.0
LLM = DeploymentId("app", "llm")
HOUR = 720


def answer(
    values: Sequence[float | None],
    *,
    horizon_s: float = 35,
    step_s: float = STEP_S,
    late_s: float = 0,
    start: float = 1000,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
) -> Forecast | Unknown:
    history = History(start=start, step_s=step_s, values=tuple(values))
    return AdaptiveForecaster().forecast(
        history, Signal.REQUESTS, now=history.end + late_s, horizon_s=horizon_s, quantiles=quantiles
    )


def band(values: Sequence[float | None], **kwargs: float) -> Forecast:
    forecast = answer(values, **kwargs)  # type: ignore[arg-type]
    assert isinstance(forecast, Forecast), forecast
    return forecast


FLAT = [1.0] * 60
RAMP = [1 + 3 * (bin_ + 1) / 12 for bin_ in range(12)]
"""From 1 to 4 units within 60 s."""


@pytest.mark.parametrize(
    ("values", "late_s", "reason"),
    [
        pytest.param([], 0, "no demand known yet", id="nothing"),
        pytest.param([None] * 100, 0, "no demand known yet", id="only-gaps"),
        pytest.param([1.0] * 11, 0, "only 55 s of demand known; 60 s are needed", id="too-short"),
        pytest.param([1.0] * 100, 31, "demand unknown for the last 31 s", id="stopped"),
        pytest.param([*[1.0] * 100, *[None] * 7], 0, "demand unknown for the last 35 s", id="newest-missing"),
        pytest.param(
            [*[1.0] * 100, *[None] * 8, 1.0], 0, "more than half of the last 60 s is unknown", id="mostly-gaps"
        ),
    ],
)
def test_there_is_no_forecast_without_enough_knowledge(values: list[float | None], late_s: float, reason: str) -> None:
    assert answer(values, late_s=late_s) == Unknown(reason)


@pytest.mark.parametrize("horizon_s", [10, 35, 130, 600, 3600])
@pytest.mark.parametrize("seconds", [60, 120, 300])
def test_a_cold_forecast_does_not_explode(seconds: int, horizon_s: float) -> None:
    values = np.random.default_rng(seconds).poisson(10, seconds // 5).astype(float)

    forecast = band(values.tolist(), horizon_s=horizon_s)

    assert forecast.quantile(0.5) >= 5
    assert forecast.quantile(0.9) < 10 * values.max()
    assert forecast.history_s == seconds


def test_a_constant_is_forecast_exactly() -> None:
    assert {value for _, value in band(FLAT).quantiles} == {1.0}


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_ramp_is_noticed_well_before_it_ends(noise: float) -> None:
    shape = np.array([*FLAT, *RAMP])
    values = shape + noise * np.random.default_rng(5).standard_normal(shape.size)

    half_way = values[:-6].tolist()

    assert band(half_way).quantile(0.9) > 1.15 * half_way[-1]


def test_a_ramp_that_ended_is_not_continued_for_ever() -> None:
    values = [*FLAT, *RAMP, *[4.0] * 24]

    assert band(values).quantile(0.5) == pytest.approx(4, rel=0.05)


def test_a_jump_that_was_a_surprise_is_not_expected_again_on_top_of_itself() -> None:
    values = [*[4.0] * 60, *[16.0] * 12]

    assert 16 <= band(values).quantile(0.9) < 19


def test_a_drop_lowers_the_band() -> None:
    busy, calm = [10.0] * 60, [1.0] * 60

    assert band([*calm, *busy]).quantile(0.9) >= 10
    assert 1 <= band([*calm, *busy, *calm]).quantile(0.9) < 1.5


def test_gaps_are_not_zeros() -> None:
    values = [None if bin_ % 4 == 1 else 8.0 for bin_ in range(120)]

    assert {value for _, value in band(values).quantiles} == {8.0}


@pytest.mark.parametrize("every", [2, 6, 60])
def test_a_tick_slower_than_the_bins_is_no_gap(every: int) -> None:
    values = [8.0 if bin_ % every == 0 else None for bin_ in range(30 * every)]

    assert {value for _, value in band(values, late_s=5).quantiles} == {8.0}


def test_the_band_covers_what_it_promises() -> None:
    values = np.random.default_rng(11).poisson(20, 3000).astype(float)
    forecaster = AdaptiveForecaster()
    covered = []

    for origin in range(20, 2990):
        history = History(start=(origin - 20) * STEP_S, step_s=STEP_S, values=tuple(values[origin - 20 : origin]))
        forecast = forecaster.forecast(
            history, Signal.REQUESTS, now=history.end, horizon_s=30, quantiles=(0.9,), deployment=LLM
        )
        assert isinstance(forecast, Forecast)
        covered.append(max(values[origin : origin + 6]) <= forecast.quantile(0.9))

    assert 0.87 <= np.mean(covered[400:]) <= 0.93


def test_yesterday_is_used_once_there_is_one() -> None:
    """Half an hour of 35 and half an hour of 5 by turns, but only after five in the morning."""
    minutes = np.arange(3 * 1440)
    wave = 20 + 15 * np.sign(np.sin((minutes + 0.5) * 2 * np.pi / 60)) * (minutes % 1440 > 300)
    rises = 2 * 1440 + 720

    forecast = band(wave[: rises - 5].tolist(), step_s=60, horizon_s=600)

    assert wave[rises - 6] == 5
    assert wave[rises + 1] == 35
    assert forecast.method.startswith("seasonal")
    assert forecast.quantile(0.9) > 25


def test_the_same_history_gives_the_same_forecast() -> None:
    values = np.random.default_rng(2).gamma(2, 3, HOUR).tolist()

    assert answer(values) == answer(values)


def test_asked_for_quantiles_come_sorted_and_once() -> None:
    forecast = band(FLAT, quantiles=(0.9, 0.5, 0.9))  # type: ignore[arg-type]

    assert [probability for probability, _ in forecast.quantiles] == [0.5, 0.9]


def test_following_many_signals_is_cheap() -> None:
    rng = np.random.default_rng(1)
    signals = (Signal.REQUESTS, Signal.PREFILL_TOKENS, Signal.DECODE_TOKENS)
    keys = [(DeploymentId("app", f"d{number}"), signal) for number in range(20) for signal in signals]
    demands = {key: tuple(rng.gamma(2, 3, 170).tolist()) for key in keys}
    forecaster = AdaptiveForecaster()

    def tick(bins: int) -> float:
        began = time.thread_time()
        for (deployment, signal), values in demands.items():
            history = History(start=0, step_s=STEP_S, values=values[:bins])
            answer = forecaster.forecast(
                history, signal, now=history.end, horizon_s=185, quantiles=(0.5, 0.9), deployment=deployment
            )
            assert isinstance(answer, Forecast)
        return time.thread_time() - began

    tick(120)
    seconds = [tick(bins) for bins in range(122, 170, 2)]

    assert np.mean(seconds) < 0.2 * len(keys) / 300


def test_what_was_learned_is_carried_from_call_to_call() -> None:
    values = tuple(np.random.default_rng(4).poisson(20, 400).astype(float).tolist())
    forecaster = AdaptiveForecaster()

    def ask(first: int, last: int) -> Forecast | Unknown:
        history = History(start=first * STEP_S, step_s=STEP_S, values=values[first:last])
        return forecaster.forecast(
            history, Signal.REQUESTS, now=history.end, horizon_s=60, quantiles=(0.9,), deployment=LLM
        )

    for last in range(50, 400, 7):
        carried = ask(max(0, last - 60), last)

    assert carried == answer(values[:last], horizon_s=60, quantiles=(0.9,), start=0)


def test_no_quantile_is_ever_negative_or_nan() -> None:
    falling = [50.0 - bin_ for bin_ in range(51)] * 3

    for end in range(20, len(falling), 7):
        values = [value for _, value in band(falling[:end]).quantiles]
        assert all(math.isfinite(value) and value >= 0 for value in values)


def noisy(levels: Sequence[float], seed: int = 3) -> list[float | None]:
    return list((np.array(levels) * np.random.default_rng(seed).normal(1.0, 0.06, len(levels))).tolist())


CALM = [10.0] * (3 * HOUR)
CLIMB = [10.0 * 1.04 ** (bin_ * STEP_S / 60) for bin_ in range(180)]
"""Four per cent a minute for a quarter of an hour."""


def test_a_long_climb_is_carried_on_although_all_hours_before_were_calm() -> None:
    forecast = band(noisy([*CALM, *CLIMB]), horizon_s=450)

    assert forecast.quantile(0.5) > 1.12 * CLIMB[-1]


def test_calm_after_a_climb_is_forecast_as_calm() -> None:
    high = [CLIMB[-1]] * 360

    forecast = band(noisy([*CALM, *CLIMB, *high]), horizon_s=450)

    assert forecast.quantile(0.5) < 1.25 * CLIMB[-1]
