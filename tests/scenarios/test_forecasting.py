"""The forecast inside the loop: it fails, is late, breaks its promise and comes back, and no tick ever suffers."""

import math
from pathlib import Path
from typing import Any

import pytest

from controller.domain.forecast import Forecast
from controller.domain.lasting import Checkpoint
from controller.domain.plan import Reason
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.export.series import gauges
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.foresight import LONG_STEP_S
from controller.ports import LoopEvent
from controller.store.sqlite import SqliteStore
from tests.clocks import VirtualClock
from tests.scenarios.simulated import CHAT
from tests.scenarios.world import FixedPolicy, World, chat, policy


def steady(_at: float) -> float:
    return 6.0


def wave(at: float) -> float:
    return 8.0 + 4.0 * math.sin(at / 60)


class Failing(AdaptiveForecaster):
    """Raises while ``broken``."""

    broken = True

    def forecast(self, *args: Any, **kwargs: Any) -> Forecast | Unknown:
        if self.broken:
            msg = "no such quantile"
            raise ValueError(msg)
        return super().forecast(*args, **kwargs)


async def test_a_forecast_that_fails_is_unavailable_and_the_tick_goes_on() -> None:
    forecaster = Failing()
    world = World(steady, forecaster=forecaster)

    broken = await world.run(90)
    forecaster.broken = False
    mended = await world.run(90)

    assert {chat(record).decision.forecast_unavailable for record in broken[4:]} == {
        "ongoing_requests: failed: ValueError: no such quantile"
    }
    assert {chat(record).decision.desired for record in broken[4:]} == {2}
    assert world.events.noted.count(LoopEvent.FORECAST_FAILED) == len(broken)
    assert LoopEvent.TICK_FAILED not in world.events.noted
    assert len(world.logged("forecast_failed")) == 1
    assert chat(mended[-1]).decision.forecast_unavailable is None


async def test_a_poisoned_memory_costs_a_forecast_and_not_the_next_ones() -> None:
    world = World(steady)
    forecaster = world.loop._foresight.forecaster
    await world.run(120)
    key = next(iter(forecaster.tracks()))

    forecaster.restore({key: None})  # type: ignore[dict-item]
    poisoned = await world.run(5)
    healed = await world.run(90)

    assert LoopEvent.TICK_FAILED not in world.events.noted
    assert len(poisoned) == 1
    assert chat(healed[-1]).decision.forecast_unavailable is None


class Slow(AdaptiveForecaster):
    """Takes three seconds for a forecast."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def forecast(self, *args: Any, **kwargs: Any) -> Forecast | Unknown:
        self._clock.advance(3.0)
        return super().forecast(*args, **kwargs)


async def test_forecasts_that_take_too_long_leave_the_rest_of_the_tick_without() -> None:
    world = World(steady)
    foresight = world.loop._foresight
    foresight.forecaster = Slow(world.deployment.clock)
    rules = policy().deployments[0]

    foresight.record([])
    signals = (Signal.ONGOING_REQUESTS, Signal.REQUESTS)
    _, why = foresight.forecasts(rules, signals, horizon_s=30, history_of=foresight.histories.history, now=0)

    assert why == (
        "ongoing_requests: no demand known yet; "
        "requests_per_s: not reached within the 2 s that a tick has for forecasts"
    )
    assert world.events.noted == [LoopEvent.FORECAST_LATE]


class Distrusted(AdaptiveForecaster):
    """Makes forecasts as ever; one signal's has broken its promise while ``lost``."""

    lost = False

    def believed(self, *args: Any, **kwargs: Any) -> bool:
        return not self.lost and super().believed(*args, **kwargs)

    def forecast(self, *args: Any, **kwargs: Any) -> Forecast | Unknown:
        answer = super().forecast(*args, **kwargs)
        return Unknown("trust lost: 60% of outcomes lay below what 90% should") if self.lost else answer


async def test_without_trust_only_measured_demand_counts_and_the_forecast_is_still_scored() -> None:
    forecaster = Distrusted()
    world = World(wave, forecaster=forecaster)
    await world.run(900)
    before = forecaster.standings()

    forecaster.lost = True
    off = await world.run(600)
    scored = forecaster.standings()
    forecaster.lost = False
    back = await world.run(60)

    for record in off:
        steps = {step.stage: step for step in chat(record).decision.steps}
        assert steps["forecast"].replicas == steps["reactive"].replicas
        assert chat(record).decision.forecasts == ()
    assert chat(off[-1]).decision.forecast_unavailable == (
        "ongoing_requests: trust lost: 60% of outcomes lay below what 90% should"
    )
    assert all(scored[key].horizons > before[key].horizons for key in before)
    assert chat(back[-1]).decision.forecasts


async def test_a_forecast_adds_and_delays_removal_and_never_takes_away() -> None:
    with_forecast, without = World(wave), World(wave, policy_source=FixedPolicy(policy(forecast=False)))

    foreseen, reactive = await with_forecast.run(1800), await without.run(1800)

    for record in foreseen:
        steps = {step.stage: step for step in chat(record).decision.steps}
        assert steps["forecast"].replicas >= steps["reactive"].replicas
    assert any(step.reason is Reason.FORECAST for record in foreseen for step in chat(record).decision.steps)
    desired = [
        (chat(one).decision.desired or 0, chat(other).decision.desired or 0)
        for one, other in zip(foreseen, reactive, strict=True)
    ]
    assert sum(one for one, _ in desired) > sum(other for _, other in desired)


async def test_a_broken_promise_shows_on_every_page() -> None:
    world = World(wave)
    await world.run(900)
    (record,) = await world.run(5)

    shown = {(metric.name, labels[2:]): value for metric, labels, value in gauges(record) if "forecast" in metric.name}

    (standing,) = chat(record).standings
    where = ("ongoing_requests", f"{standing.horizon_s:g}")
    assert shown["foreserve_forecast_available", ()] == 1
    assert shown["foreserve_forecast_trusted", where] == 1
    assert shown["foreserve_forecast_coverage_ratio", where] == standing.coverage
    assert shown["foreserve_forecast_promised_ratio", where] == 0.9
    assert shown["foreserve_forecast_leading_info", (*where, standing.method)] == 1
    assert ("foreserve_forecast_model_age_seconds", where) not in shown


@pytest.mark.parametrize("ended", ["in order", "killed"])
async def test_what_the_forecaster_learned_survives_a_restart(tmp_path: Path, ended: str) -> None:
    path = tmp_path / "foreserve.db"
    first = World(wave, store=SqliteStore(path))
    await first.run(1500)
    forecaster, minutes = first.loop._foresight.forecaster, first.loop._foresight.histories
    ((key, learned),) = forecaster.tracks().items()
    past = minutes.history(CHAT, Signal.ONGOING_REQUESTS)
    if ended == "in order":
        await first.loop.close()
    else:
        first.store.close()

    reopened = SqliteStore(path)
    kept = reopened.load()
    second = World(wave, store=reopened, kept=kept, last_tick=reopened.last_tick(), deployment=first.deployment)
    foresight = second.loop._foresight
    restored = foresight.forecaster.track(key)
    again = await second.run(5)
    reopened.close()

    assert restored is not None
    assert learned.at - restored.at <= (0 if ended == "in order" else 300)
    assert restored.score.weight > 0.75 * learned.score.weight
    known = foresight.histories.history(CHAT, Signal.ONGOING_REQUESTS)
    lost = 0 if ended == "in order" else 300 / LONG_STEP_S
    assert len(past.values) - lost <= len(known.values) <= len(past.values) + 1
    assert known.start == past.start
    assert chat(again[0]).decision.forecast_unavailable is None
    assert chat(again[0]).standings[0].horizons > 0.75 * learned.horizons
    assert foresight.forecaster.tracks()[key].at > learned.at


async def test_pieces_of_another_version_are_left_out() -> None:
    world = World(wave)
    await world.run(900)
    pieces = world.loop._learned.newest()

    garbled = [type(one)(deployment=one.deployment, name=one.name, at=one.at, body=one.body[:-9]) for one in pieces]
    after = World(wave, kept=Checkpoint(pieces=garbled), deployment=world.deployment)

    assert after.loop._foresight.forecaster.tracks() == {}
    assert await after.run(5)
