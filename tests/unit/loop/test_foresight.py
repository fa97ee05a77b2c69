"""In virtual time: the long past is kept, looked at and learned from, and the day's peak is foreseen."""

import math

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.fitting import FitRequest, FitResult
from controller.loop.foresight import FitAtOnce, Foresight

LLM = DeploymentId("app", "llm")
KEY = (LLM, Signal.REQUESTS, 180.0)
DAY_S = 86_400.0


def demand(at: float) -> float:
    """Every half day a jump from 20 to 80 for two hours."""
    return 80.0 if 6 * 3600 <= at % (DAY_S / 2) < 8 * 3600 else 20.0


def minutes(start: float, end: float) -> History:
    return History(
        start=start, step_s=60, values=tuple(demand(start + 60 * place) for place in range(int((end - start) // 60)))
    )


def asked(forecaster: AdaptiveForecaster, now: float) -> Forecast:
    recent = History(start=now - 600, step_s=10, values=tuple(demand(now - 600 + 10 * place) for place in range(60)))
    answer = forecaster.forecast(recent, Signal.REQUESTS, now=now, horizon_s=170, quantiles=(0.5, 0.9), deployment=LLM)
    assert isinstance(answer, Forecast)
    return answer


def test_a_daily_jump_is_foreseen_from_the_long_past() -> None:
    foresight = Foresight(AdaptiveForecaster(), FitAtOnce())
    jump = 5 * DAY_S + 6 * 3600
    foresight.restore([(LLM, Signal.REQUESTS, minutes(0, jump - 1800))])
    now = jump - 1800

    while now < jump - 60:
        asked(foresight.forecaster, now)
        foresight.tend(now, history_of=lambda _id, _signal, _since=None, now=now: minutes(0, now))
        now += 10

    assert demand(now) == 20
    assert asked(foresight.forecaster, now).quantile(0.9) > 30
    assert foresight.problems == {}


class Reluctant:
    """A fitter that never gets done, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[FitRequest] = []

    def offer(self, request: FitRequest) -> bool:
        self.requests.append(request)
        return len(self.requests) == 1

    def poll(self) -> FitResult | None:
        return None

    def close(self) -> None:
        pass


def test_nothing_is_fitted_to_less_than_a_day_and_one_fit_is_asked_for_at_a_time() -> None:
    fitter = Reluctant()
    foresight = Foresight(AdaptiveForecaster(), fitter)
    asked(foresight.forecaster, 2 * DAY_S)

    foresight.tend(2 * DAY_S, history_of=lambda _id, _signal, _since=None: minutes(DAY_S * 1.5, DAY_S * 2))
    assert fitter.requests == []
    foresight.tend(2 * DAY_S + 7200, history_of=lambda _id, _signal, _since=None: minutes(DAY_S * 0.5, DAY_S * 2))
    foresight.tend(2 * DAY_S + 7210, history_of=lambda _id, _signal, _since=None: minutes(DAY_S * 0.5, DAY_S * 2))

    assert [(one.key, one.horizon_s, one.probabilities) for one in fitter.requests] == [(KEY, 180.0, (0.5, 0.9))]


def test_a_fit_that_fails_is_told_and_tried_again_later() -> None:
    class Failing(Reluctant):
        def offer(self, request: FitRequest) -> bool:
            self.failed = True
            self.requests.append(request)
            return True

        def poll(self) -> FitResult | None:
            failed, self.failed = getattr(self, "failed", False), False
            return FitResult(KEY, None, "MemoryError: ") if failed else None

    fitter = Failing()
    foresight = Foresight(AdaptiveForecaster(), fitter)
    asked(foresight.forecaster, 2 * DAY_S)

    for later in (0, 10, 20, 3700):
        foresight.tend(2 * DAY_S + later, history_of=lambda _id, _signal, _since=None: minutes(0, DAY_S * 2))

    assert foresight.problems == {KEY: "MemoryError: "}
    assert len(fitter.requests) == 2
    assert math.isfinite(asked(foresight.forecaster, 2 * DAY_S + 10).quantile(0.9))


def test_a_model_that_was_stored_is_used_until_its_day_is_over() -> None:
    fitter = Reluctant()
    first = Foresight(AdaptiveForecaster(), FitAtOnce())
    asked(first.forecaster, 2 * DAY_S)
    for _ in range(2):
        first.tend(2 * DAY_S, history_of=lambda _id, _signal, _since=None: minutes(0, DAY_S * 2))
    tracks, models = first.forecaster.tracks(), first.forecaster.models()

    second = Foresight(AdaptiveForecaster(), fitter)
    second.go_on(tracks, models)
    for later, wanted in ((3600, 0), (23 * 3600, 0), (25 * 3600, 1)):
        now = 2 * DAY_S + later
        second.tend(now, history_of=lambda _id, _signal, _since=None, now=now: minutes(0, now))
        assert len(fitter.requests) == wanted

    assert models[KEY].fitted_at == 2 * DAY_S
    assert second.forecaster.models() == models
