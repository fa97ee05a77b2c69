"""A policy's events reach the forecast: its band at once, its model with the next fit."""

import pytest

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.plan import Capacity, CapacitySource
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.adaptive import AdaptiveForecaster
from controller.forecast.announced import Announced
from controller.loop.announcements import announcements
from controller.loop.fitting import FitRequest, FitResult
from controller.loop.foresight import Foresight
from controller.policy.model import DeploymentPolicy

DAY_S = 86_400.0
CARRIED = Capacity(
    per_replica={Signal.WORK: 0.8, Signal.REQUESTS: 4.0, Signal.PREFILL_TOKENS: 4000.0}, source=CapacitySource.LEARNED
)


def rules(*events: dict[str, object]) -> DeploymentPolicy:
    return DeploymentPolicy.model_validate(
        {
            "application": "app",
            "deployment": "llm",
            "limits": {"max_replicas": 10},
            "capacity": {
                "target_ongoing_requests": 8,
                "requests_per_s": 4,
                "prefill_tokens_per_s": 4000,
                "decode_tokens_per_s": 800,
            },
            "events": list(events),
        }
    )


def nightly(**changes: object) -> dict[str, object]:
    return {"name": "batch", "cron": "0 2 * * *", "duration_s": 3600, **changes}


@pytest.mark.parametrize(
    ("given", "signal", "extra"),
    [
        pytest.param({"requests_per_s": 6.0}, Signal.REQUESTS, 6.0, id="as-given"),
        pytest.param({"requests_per_s": 6.0}, Signal.WORK, 1.2, id="by-what-a-replica-carries"),
        pytest.param({"requests_per_s": 2.0, "prefill_tokens_per_s": 6000.0}, Signal.WORK, 1.2, id="the-larger-counts"),
        pytest.param({"decode_tokens_per_s": 9.0}, Signal.WORK, 0.0, id="no-capacity-for-it"),
    ],
)
def test_an_extra_load_is_told_in_the_signal_that_is_forecast(
    given: dict[str, float], signal: Signal, extra: float
) -> None:
    (one,) = announcements(rules(nightly(extra_load=given)).events, signal, CARRIED, since=0, until=DAY_S)

    assert one == Announced(name="batch", start=7200, end=10_800, extra=pytest.approx(extra))


def test_every_occurrence_is_told_past_ones_too() -> None:
    found = announcements(rules(nightly(demand_multiple=2)).events, Signal.WORK, CARRIED, since=0, until=3 * DAY_S)

    assert [one.start for one in found] == [7200, DAY_S + 7200, 2 * DAY_S + 7200]
    assert {one.multiple for one in found} == {2.0}


class Remembering:
    """A fitter that takes every request and never gets done."""

    def __init__(self) -> None:
        self.requests: list[FitRequest] = []

    def offer(self, request: FitRequest) -> bool:
        self.requests.append(request)
        return True

    def poll(self) -> FitResult | None:
        return None

    def close(self) -> None:
        pass


def flat(_id: DeploymentId, _signal: Signal, _since: float | None = None) -> History:
    return History(start=0, step_s=60, values=(20.0,) * round(2 * DAY_S / 60))


def test_a_changed_list_of_events_is_learned_from_at_once() -> None:
    fitter = Remembering()
    foresight = Foresight(AdaptiveForecaster(), fitter)

    def tick(policy: DeploymentPolicy, now: float) -> None:
        def announced_of(signal: Signal, /, *, since: float, until: float) -> tuple[Announced, ...]:
            return announcements(policy.events, signal, CARRIED, since=since, until=until)

        made, why = foresight.forecasts(
            policy, [Signal.REQUESTS], horizon_s=170, history_of=flat, now=now, announced_of=announced_of
        )
        assert why is None
        assert isinstance(made[0], Forecast)
        foresight.tend(now, history_of=flat)

    for later in (0, 10, 20):
        tick(rules(), 2 * DAY_S + later)
    for later in (30, 40):
        tick(rules(nightly(min_replicas=3)), 2 * DAY_S + later)

    assert [{one.name for one in request.announced} for request in fitter.requests] == [set(), {"batch"}]
    assert [one.start for one in fitter.requests[1].announced] == [7200, DAY_S + 7200]
