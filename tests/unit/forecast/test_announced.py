"""What is announced shifts the band before it begins, and is learned where it recurs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.adaptive import AdaptiveForecaster
from controller.forecast.announced import Announced, Change, change, event_columns
from controller.forecast.fitting import fit
from controller.forecast.past import Past
from controller.forecast.retrospect import look_back

LLM = DeploymentId("app", "llm")
HOUR_S, DAY_S = 3600.0, 86_400.0
LAUNCH = Announced(name="launch", start=HOUR_S, end=2 * HOUR_S, multiple=3.0)


def forecast_at(now: float, announced: tuple[Announced, ...], level: float = 20.0) -> Forecast:
    """Quantiles over three minutes after an hour or more at a level with a little noise."""
    rng = np.random.default_rng(1)
    values = tuple((level + rng.normal(0, 1, round(now / 10))).tolist())
    answer = AdaptiveForecaster().forecast(
        History(start=0, step_s=10, values=values),
        Signal.REQUESTS,
        now=now,
        horizon_s=180,
        quantiles=(0.5, 0.9),
        announced=announced,
    )
    assert isinstance(answer, Forecast)
    return answer


def test_a_launch_never_seen_before_shifts_the_band_one_horizon_before_it_begins() -> None:
    early, near = forecast_at(HOUR_S - 200, (LAUNCH,)), forecast_at(HOUR_S - 170, (LAUNCH,))

    assert early.quantile(0.9) < 25
    assert 60 <= near.quantile(0.5) <= near.quantile(0.9) < 75


def test_an_extra_load_is_added_to_the_usual() -> None:
    batch = Announced(name="batch", start=HOUR_S, end=2 * HOUR_S, extra=100.0)

    assert 119 < forecast_at(HOUR_S - 60, (batch,)).quantile(0.5) < 130


def test_an_event_that_only_asks_for_replicas_shifts_no_band() -> None:
    floor = Announced(name="office", start=HOUR_S, end=2 * HOUR_S)

    assert forecast_at(HOUR_S - 60, (floor,)) == forecast_at(HOUR_S - 60, ())


def test_while_it_lasts_the_multiple_is_of_the_usual_and_not_of_what_the_event_brought() -> None:
    rng = np.random.default_rng(1)
    before, during = np.full(360, 20.0), np.full(60, 60.0)
    values = tuple((np.concatenate([before, during]) + rng.normal(0, 1, 420)).tolist())

    answer = AdaptiveForecaster().forecast(
        History(start=0, step_s=10, values=values),
        Signal.REQUESTS,
        now=4200,
        horizon_s=180,
        quantiles=(0.5, 0.9),
        announced=(LAUNCH,),
    )

    assert isinstance(answer, Forecast)
    assert 60 <= answer.quantile(0.9) < 75


def test_an_announcement_that_came_true_leaves_the_next_forecast_as_it_was() -> None:
    """Scored with what was announced, the rise is no surprise that would widen the band afterwards."""
    rng = np.random.default_rng(1)
    shape = np.concatenate([np.full(360, 20.0), np.full(360, 60.0), np.full(360, 20.0)])
    history = History(start=0, step_s=10, values=tuple((shape + rng.normal(0, 1, shape.size)).tolist()))

    def width(announced: tuple[Announced, ...]) -> float:
        answer = AdaptiveForecaster().forecast(
            history, Signal.REQUESTS, now=10_800, horizon_s=180, quantiles=(0.5, 0.9), announced=announced
        )
        assert isinstance(answer, Forecast)
        return answer.quantile(0.9)

    assert width((LAUNCH,)) <= width(())


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param(0.0, None, id="too-far"),
        pytest.param(50.0, Change(2.0, 5.0, on=False), id="one-begins"),
        pytest.param(100.0, Change(3.0, 12.0, on=True), id="one-is-on-and-another-begins"),
        pytest.param(200.0, Change(3.0, 7.0, on=True), id="the-first-is-over"),
        pytest.param(400.0, None, id="all-is-over"),
    ],
)
def test_what_is_on_together_adds_up(at: float, expected: Change | None) -> None:
    one = Announced(name="a", start=100, end=200, multiple=2.0, extra=5.0)
    other = Announced(name="b", start=150, end=400, multiple=3.0, extra=7.0)

    assert change((one, other), at, 50.0) == expected


def test_a_feature_counts_down_to_an_event_and_through_it() -> None:
    (column,) = event_columns(
        (Announced(name="a", start=600, end=1200),), ["a"], np.array([0.0, 300.0, 450.0, 600.0, 900.0, 1200.0]), 300.0
    )

    assert column.tolist() == pytest.approx([math.nan, 1.0, 0.5, 0.0, -0.5, math.nan], nan_ok=True)


def test_a_batch_at_odd_hours_is_learned_from_its_announcements() -> None:
    """It begins at another time every day, so nothing but the announcement tells when; how much is not announced."""
    step_s, days = 60.0, 10
    begins = [day * DAY_S + (3 + 7 * day % 16) * HOUR_S for day in range(days)]
    announced = tuple(Announced(name="batch", start=start, end=start + HOUR_S) for start in begins)
    rng = np.random.default_rng(2)
    values = 20 + rng.normal(0, 1, round(days * DAY_S / step_s))
    for start in begins:
        first = round(start / step_s)
        values[first : first + 60] += 40
    last = round(begins[-1] / step_s) - 2
    history = History(start=0, step_s=step_s, values=tuple(values[:last].tolist()))

    def median(known: tuple[Announced, ...]) -> float:
        model = fit(history, horizon_s=300, probabilities=(0.5,), seed=0, announced=known)
        look = look_back(
            Past.of(history),
            level=20.0,
            horizon_s=300,
            probabilities=(0.5,),
            season_s=None,
            model=model,
            announced=known,
        )
        assert look.boosted is not None
        return look.boosted[0]

    assert median(()) < 30
    assert median(announced) > 35


@given(st.floats(1, 5), st.floats(0, 100))
def test_announcing_more_never_lowers_the_band(multiple: float, extra: float) -> None:
    more = Announced(name="x", start=660, end=900, multiple=multiple, extra=extra)

    plain, shifted = forecast_at(600, ()), forecast_at(600, (more,))

    assert all(shifted.quantile(p) >= plain.quantile(p) - 1e-9 for p in (0.5, 0.9))
