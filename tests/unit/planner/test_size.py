"""What demand needs now, and what the forecast adds."""

from dataclasses import replace

import hypothesis as h
import hypothesis.strategies as st
import pytest

from controller.domain.forecast import Forecast
from controller.domain.plan import Capacity, CapacitySource, Reason, Step
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.planner.capacity import capacity
from controller.planner.size import Sizing, size, sizing_signals
from controller.policy.model import DeploymentPolicy
from tests.planning import forecast, policy, seen

BOTH = {"decode_tokens_per_s": 100.0}


def sized(
    demand: float | Reading | dict[Signal, Reading],
    *forecasts: Forecast,
    current: int = 2,
    rules: DeploymentPolicy | None = None,
    idle: bool | None = None,
) -> Sizing:
    rules = rules or policy()
    changes: dict[str, object] = {} if idle is None else {"idle": idle}
    return size(
        seen(demand, target=current, **changes),
        capacity(rules),
        forecasts,
        quantile=rules.forecast.target_quantile,
        forecast_unavailable=None if forecasts else "switched off by the policy",
        current=current,
    )


@pytest.mark.parametrize(
    ("demand", "replicas", "reason"),
    [
        pytest.param(14.0, 2, Reason.DEMAND, id="rounded-up"),
        pytest.param(16.0, 2, Reason.DEMAND, id="just-fits"),
        pytest.param(16.0000000001, 2, Reason.DEMAND, id="floating-noise-adds-none"),
        pytest.param(16.1, 3, Reason.DEMAND, id="no-longer-fits"),
        pytest.param(0.001, 1, Reason.DEMAND, id="any-demand-needs-one"),
        pytest.param(0.0, 0, Reason.IDLE, id="idle-needs-none"),
    ],
)
def test_demand_now(demand: float, replicas: int, reason: Reason) -> None:
    result = sized(demand)

    assert (result.reactive.stage, result.reactive.replicas, result.reactive.reason) == ("reactive", replicas, reason)


def test_the_arithmetic_is_one_sentence() -> None:
    assert sized(14.0).reactive.detail == "14.0 ongoing requests / 8 per replica → 2"


def test_no_demand_by_one_account_only_keeps_one_replica() -> None:
    result = sized(0.0, idle=False)

    said = "0.0 ongoing requests / 8 per replica → 0; kept at 1 while not known to be idle"
    assert result.reactive == Step("reactive", 1, Reason.DEMAND, said)


def test_the_signal_that_needs_most_decides() -> None:
    demand: dict[Signal, Reading] = {Signal.ONGOING_REQUESTS: Known(8.0), Signal.DECODE_TOKENS: Known(350.0)}

    result = sized(demand, rules=policy(per_replica=BOTH))

    assert result.needed == 4
    assert result.reactive.detail == "350.0 decode tokens/s / 100 per replica → 4"


def test_without_any_knowledge_the_target_is_held_whatever_is_forecast() -> None:
    result = sized(Unknown("stale"), forecast(80.0), current=3)

    assert (result.needed, result.reason, result.complete, result.roomy) == (3, Reason.NO_DATA, False, 3)
    assert result.steps == (
        Step("reactive", 3, Reason.NO_DATA, "hold 3: ongoing requests unknown (stale)"),
        Step("forecast", 3, Reason.NO_DATA, "a forecast is not carried beyond what is known"),
    )


@pytest.mark.parametrize(
    ("ongoing", "replicas", "reason", "detail"),
    [
        (30.0, 4, Reason.DEMAND, "30.0 ongoing requests / 8 per replica → 4; decode tokens/s unknown (absent)"),
        (
            8.0,
            2,
            Reason.NO_DATA,
            "not below 2: 8.0 ongoing requests / 8 per replica → 1; decode tokens/s unknown (absent)",
        ),
    ],
)
def test_partial_knowledge_may_raise_but_not_lower(ongoing: float, replicas: int, reason: Reason, detail: str) -> None:
    demand: dict[Signal, Reading] = {Signal.ONGOING_REQUESTS: Known(ongoing), Signal.DECODE_TOKENS: Unknown("absent")}

    result = sized(demand, rules=policy(per_replica=BOTH))

    assert (result.needed, result.reason, result.complete) == (replicas, reason, False)
    assert result.reactive == Step("reactive", replicas, reason, detail)


@pytest.mark.parametrize(("predicted", "replicas", "reason"), [(30.0, 4, Reason.FORECAST), (3.0, 2, Reason.DEMAND)])
def test_the_forecast_adds_and_never_takes(predicted: float, replicas: int, reason: Reason) -> None:
    result = sized(14.0, forecast(predicted))

    assert (result.needed, result.reason) == (replicas, reason)
    assert result.forecast.detail.startswith("p90 of the maximum over 40 s: ")


def test_the_quantile_follows_from_the_costs_of_missing_and_sparing() -> None:
    rules = policy(forecast={"costs": {"miss": 3, "spare": 1}})

    assert sized(14.0, forecast(30.0), rules=rules).forecast.detail.startswith("p75 of")


def test_without_a_forecast_it_is_said_why() -> None:
    assert sized(14.0).forecast.detail == "none: switched off by the policy"


def test_what_may_be_given_up_leaves_a_tenth_free() -> None:
    assert sized(14.0).roomy == 2
    assert sized(15.0).roomy == 3
    assert sized(8.0, forecast(15.0)).roomy == 3


def test_capacity_comes_from_the_policy_and_says_so() -> None:
    carried = capacity(policy(per_replica=BOTH))

    assert carried.per_replica == {Signal.ONGOING_REQUESTS: 8, Signal.DECODE_TOKENS: 100}
    assert (carried.source, carried.detail) == (CapacitySource.POLICY, "from the policy; not learned")


LEARNED = Capacity(per_replica={Signal.WORK: 0.8, Signal.ONGOING_REQUESTS: 10.0}, source=CapacitySource.LEARNED)


def sized_by_work(demand: dict[Signal, Reading], *, current: int = 2) -> Sizing:
    return size(
        seen(demand, target=current), LEARNED, (), quantile=0.9, forecast_unavailable="switched off", current=current
    )


def test_known_work_decides_alone_whatever_else_is_known() -> None:
    piled_up = sized_by_work({Signal.WORK: Known(2.5), Signal.ONGOING_REQUESTS: Known(500.0)})
    unseen = sized_by_work({Signal.WORK: Known(2.5), Signal.ONGOING_REQUESTS: Unknown("stale")})

    assert piled_up.needed == unseen.needed == 4
    assert piled_up.complete
    assert unseen.complete


def test_unknown_work_falls_back_to_the_other_signals_and_lowers_nothing() -> None:
    result = sized_by_work({Signal.WORK: Unknown("no model"), Signal.ONGOING_REQUESTS: Known(5.0)}, current=3)

    assert result.needed == 3
    assert not result.complete


def test_a_forecast_of_what_is_unknown_does_not_hide_the_others() -> None:
    demand: dict[Signal, Reading] = {Signal.ONGOING_REQUESTS: Known(8.0), Signal.DECODE_TOKENS: Unknown("absent")}
    forecasts = forecast(900.0, signal=Signal.DECODE_TOKENS), forecast(40.0)

    assert sized(demand, *forecasts, rules=policy(per_replica=BOTH)).needed == 5


def test_every_forecast_of_what_is_known_counts() -> None:
    demand: dict[Signal, Reading] = {Signal.ONGOING_REQUESTS: Known(8.0), Signal.DECODE_TOKENS: Known(50.0)}
    forecasts = forecast(60.0, signal=Signal.DECODE_TOKENS), forecast(40.0)

    assert sized(demand, *forecasts, rules=policy(per_replica=BOTH)).needed == 5


@pytest.mark.parametrize(
    ("readings", "per_replica", "signals"),
    [
        pytest.param({Signal.WORK: Known(3.0)}, (Signal.WORK, Signal.DECODE_TOKENS), (Signal.WORK,), id="work-alone"),
        pytest.param(
            {Signal.WORK: Unknown("no model"), Signal.DECODE_TOKENS: Known(9.0)},
            (Signal.WORK, Signal.DECODE_TOKENS),
            (Signal.WORK, Signal.DECODE_TOKENS),
            id="unknown-work-decides-nothing-alone",
        ),
        pytest.param({Signal.WORK: Known(3.0)}, (Signal.DECODE_TOKENS,), (Signal.DECODE_TOKENS,), id="no-capacity"),
    ],
)
def test_which_signals_decide(
    readings: dict[Signal, Reading], per_replica: tuple[Signal, ...], signals: tuple[Signal, ...]
) -> None:
    able = Capacity(per_replica=dict.fromkeys(per_replica, 1.0), source=CapacitySource.LEARNED)

    assert sizing_signals(seen(readings), able) == signals


WITH_FULL_LOAD = Capacity(per_replica={Signal.WORK: 0.8}, source=CapacitySource.LEARNED, full={Signal.WORK: 1.0})


def sized_by_lasting_work(
    work: float, *forecasts: Forecast, sustained: float | None = None, lasting: bool = False
) -> Sizing:
    return size(
        seen({Signal.WORK: Known(work)}, target=5),
        WITH_FULL_LOAD,
        forecasts,
        quantile=0.9,
        forecast_unavailable=None,
        current=5,
        sustained={} if sustained is None else {Signal.WORK: sustained},
        **({"lasting": True} if lasting else {}),
    )


@pytest.mark.parametrize(
    ("work", "sustained", "replicas"),
    [
        pytest.param(4.4, 4.0, 5, id="noise-is-what-the-margin-is-for"),
        pytest.param(4.6, 4.0, 6, id="a-moment-beyond-half-of-the-margin-counts"),
        pytest.param(3.0, 4.1, 6, id="a-lull-does-not-hide-what-lasts"),
        pytest.param(4.1, None, 6, id="without-a-mean-the-moment-must-fit-the-planned-load"),
    ],
)
def test_what_lasts_fits_the_planned_load_and_a_moment_half_of_the_margin(
    work: float, sustained: float | None, replicas: int
) -> None:
    assert sized_by_lasting_work(work, sustained=sustained).needed == replicas


def test_the_foreseen_maximum_must_fit_the_full_load() -> None:
    wide = replace(forecast(4.0, signal=Signal.WORK), quantiles=((0.5, 4.0), (0.9, 5.9)))

    result = sized_by_lasting_work(4.0, wide, sustained=4.0)

    assert (result.reactive.replicas, result.needed, result.reason, result.roomy) == (5, 6, Reason.FORECAST, 7)
    assert result.forecast.detail == "p90 of the maximum over 40 s: 5.9 work / 1 per replica → 6"


def test_the_median_of_the_foreseen_maximum_counts_like_a_moment() -> None:
    wide = replace(forecast(4.0, signal=Signal.WORK), quantiles=((0.5, 4.6), (0.9, 4.8)))

    result = sized_by_lasting_work(4.0, wide, sustained=4.0)

    assert (result.needed, result.forecast.detail) == (
        6,
        "p50 of the maximum over 40 s: 4.6 work / 0.9 per replica → 6",
    )


def test_where_the_foreseen_maximum_is_taken_to_last_it_must_fit_the_planned_load() -> None:
    wide = replace(forecast(4.0, signal=Signal.WORK), quantiles=((0.5, 4.6), (0.9, 4.9)))

    result = sized_by_lasting_work(4.0, wide, sustained=4.0, lasting=True)

    assert (result.needed, result.forecast.detail) == (
        7,
        "p90 of the maximum over 40 s: 4.9 work / 0.8 per replica → 7",
    )


def test_a_mean_needs_less_to_spare_than_a_moment() -> None:
    assert sized_by_lasting_work(3.8, sustained=3.85).roomy == 5
    assert sized_by_lasting_work(3.8, sustained=3.9).roomy == 6


@pytest.mark.parametrize(
    ("history_s", "replicas"),
    [
        pytest.param(12.0, 3, id="a-tenth-of-three-horizons-a-tenth-more"),
        pytest.param(60.0, 3, id="half"),
        pytest.param(120.0, 10, id="three-horizons-are-believed"),
    ],
)
def test_the_first_minutes_foresee_growth_only_in_proportion(history_s: float, replicas: int) -> None:
    young = replace(forecast(80.0), history_s=history_s)

    assert sized(16.0, young).needed == replicas


def sized_by_what_is_in_flight(
    reading: float, mean: float | None, *forecasts: Forecast, backlog: float = 0.0
) -> Sizing:
    """By eight requests for each replica."""
    return size(
        seen(reading, target=2),
        capacity(policy()),
        forecasts,
        quantile=0.9,
        forecast_unavailable=None,
        current=2,
        sustained={} if mean is None else {Signal.ONGOING_REQUESTS: mean},
        backlog=backlog,
    )


@pytest.mark.parametrize(
    ("reading", "mean", "replicas"),
    [
        pytest.param(25.0, None, 4, id="without-a-mean-the-reading"),
        pytest.param(25.0, 16.0, 3, id="less-what-chance-may-have-added"),
        pytest.param(16.0, 25.0, 4, id="a-lull-does-not-hide-what-lasts"),
        pytest.param(20.0, 16.0, 2, id="noise-adds-nothing"),
        pytest.param(64.0, 16.0, 8, id="a-step-shows-at-once"),
    ],
)
def test_what_is_in_flight_counts_by_its_mean_and_by_what_a_reading_proves(
    reading: float, mean: float | None, replicas: int
) -> None:
    assert sized_by_what_is_in_flight(reading, mean).needed == replicas


def test_what_only_waits_is_not_ordered_for() -> None:
    assert sized_by_what_is_in_flight(100.0, 90.0, backlog=60.0).needed == 5
    assert sized_by_what_is_in_flight(100.0, 90.0, backlog=500.0).needed == 1


def test_a_short_history_foresees_growth_of_what_lasts_not_of_one_reading() -> None:
    steep = replace(forecast(900.0), history_s=0.0)

    assert sized_by_what_is_in_flight(25.0, 16.0, steep).needed == 3


@h.given(st.floats(1, 500), st.integers(1, 30))
def test_a_step_to_four_times_the_load_of_full_replicas_is_acted_on_in_the_tick_that_shows_it(
    load: float, readings: int
) -> None:
    """However many readings of the load before are in the mean."""
    per_replica = policy().capacity.target_ongoing_requests
    before = sized_by_what_is_in_flight(load * per_replica, load * per_replica)

    mean = (readings * load + 4 * load) / (readings + 1)
    after = sized_by_what_is_in_flight(4 * load * per_replica, mean * per_replica)

    assert after.needed >= 2 * before.needed


@h.given(st.floats(0, 1e4), st.floats(1, 1e4), st.integers(0, 30), st.floats(0, 1e3), st.floats(0, 1e3))
def test_more_in_flight_never_needs_fewer(
    reading: float, before: float, readings: int, more: float, waits: float
) -> None:
    def sized(now: float) -> int:
        mean = (readings * before + now) / (readings + 1)
        return sized_by_what_is_in_flight(now, mean, backlog=waits).needed

    assert sized(reading + more) >= sized(reading)


def test_what_only_waits_is_told_where_it_does_not_count() -> None:
    said = sized_by_what_is_in_flight(25.0, 25.0, backlog=9.0).reactive.detail

    assert said.startswith("16.0 ongoing requests / 8 per replica → 2; 9.0 more wait, beyond what arrivals explain")
    assert "wait" not in sized_by_what_is_in_flight(25.0, 25.0).reactive.detail
