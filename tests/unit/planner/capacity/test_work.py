import math

import pytest

from controller.domain.engine import EngineInterval
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.planner.capacity.mix import token_mix, with_intervals
from controller.planner.capacity.sustainable import FullLoad, full_load
from controller.planner.capacity.work import work_history, work_rate
from tests.synthetic_engine import RTX_4090
from tests.unit.planner.capacity.test_sustainable import CHAT, ENGINE

FULL: FullLoad = full_load(RTX_4090, CHAT, ENGINE, ttft_s=2.0, tpot_s=0.1)


def demanded(requests_per_s: float, *, prompt=1155.0, output=211.0):
    return {
        Signal.REQUESTS: Known(requests_per_s, 1.0),
        Signal.PREFILL_TOKENS: Known(requests_per_s * prompt, 2.0),
        Signal.DECODE_TOKENS: Known(requests_per_s * output, 2.0),
    }


def test_a_full_load_is_one_engine_of_work_and_work_is_proportional():
    work = work_rate(demanded(FULL.requests_per_s), FULL)

    assert isinstance(work, Known)
    assert work.value == pytest.approx(1.0)
    assert work_rate(demanded(5 * FULL.requests_per_s), FULL).value == pytest.approx(5.0)


def test_heavier_prompts_are_more_work_at_once_and_queued_arrivals_count():
    usual = work_rate(demanded(2.0), FULL).value

    assert work_rate(demanded(2.0, prompt=4000), FULL).value > 1.5 * usual
    held_back = {**demanded(1.0), Signal.REQUESTS: Known(2.0)}
    assert work_rate(held_back, FULL).value == pytest.approx(usual)


def test_one_known_account_is_enough_and_none_is_unknown():
    demand = demanded(2.0)
    unknown = Unknown("stale")

    assert work_rate({**demand, Signal.DECODE_TOKENS: unknown}, FULL).value == pytest.approx(2.0 * FULL.request_s)
    assert work_rate({**demand, Signal.REQUESTS: unknown}, FULL).value == pytest.approx(2.0 * FULL.request_s)
    assert isinstance(work_rate(dict.fromkeys(demand, unknown), FULL), Unknown)
    assert isinstance(work_rate({}, FULL), Unknown)


def test_the_past_is_work_by_its_own_tokens_and_else_by_arrivals():
    past = {
        Signal.PREFILL_TOKENS: History(start=10.0, step_s=5.0, values=(1155.0, None)),
        Signal.DECODE_TOKENS: History(start=10.0, step_s=5.0, values=(211.0, 211.0)),
        Signal.REQUESTS: History(start=5.0, step_s=5.0, values=(None, 9.0, 2.0)),
    }

    work = work_history(past, FULL)

    assert (work.start, work.step_s) == (5.0, 5.0)
    assert work.values == (None, pytest.approx(FULL.request_s), pytest.approx(2 * FULL.request_s))


def test_no_past_at_all_stays_empty():
    nothing = History(start=0.0, step_s=5.0)

    assert work_history(dict.fromkeys(demanded(1.0), nothing), FULL).values == ()


def interval(requests: float, prompt: float, output: float, **more: float) -> EngineInterval:
    return EngineInterval(
        replica_id="r",
        until=0.0,
        seconds=30.0,
        iterations=1000.0,
        prompt_tokens=requests * prompt,
        generation_tokens=requests * output,
        first_tokens=requests,
        **more,
    )


def test_the_mix_is_the_mean_over_replicas_and_the_last_minutes():
    mix = with_intervals(None, [interval(50, 1000, 100), interval(50, 2000, 300)], at=0.0)
    later = with_intervals(mix, [interval(100, 100, 100)] * 3, at=3000.0)

    known, changed = token_mix(mix), token_mix(later)

    assert known is not None
    assert (known.prompt_tokens, known.output_tokens) == (1500, 200)
    assert changed is not None
    assert changed.prompt_tokens == pytest.approx(100, rel=0.01)


def mix_after(requests_each: float, seconds: float) -> float:
    """Prompt tokens that are believed after ten minutes of 1000 and then some seconds of 3000."""
    mix = None
    for tick in range(40):
        mix = with_intervals(mix, [interval(requests_each, 1000, 100)], at=tick * 15.0)
    for tick in range(40, 40 + round(seconds / 15)):
        mix = with_intervals(mix, [interval(requests_each, 3000, 100)], at=tick * 15.0)
    known = token_mix(mix)
    assert known is not None
    return known.prompt_tokens


def test_a_busy_service_knows_a_heavier_mix_in_a_minute_and_a_quiet_one_in_minutes():
    assert mix_after(300, 60) == pytest.approx(3000 - 2000 * math.exp(-1), rel=0.05)
    assert mix_after(3000, 60) == pytest.approx(mix_after(300, 60), rel=0.05)
    assert mix_after(15, 60) == pytest.approx(3000 - 2000 * math.exp(-0.2), rel=0.05)


def test_few_requests_are_no_mix():
    assert token_mix(None) is None
    assert token_mix(with_intervals(None, [interval(5, 1000, 100)], at=0.0)) is None


def test_cache_hits_and_the_kv_share_of_a_request_are_part_of_the_mix():
    mix = token_mix(
        with_intervals(None, [interval(100, 1000, 100, cached_tokens=25_000, running=10, kv_usage=0.4)], at=0.0)
    )

    assert mix is not None
    assert mix.prefill_tokens == 750
    assert mix.kv_share == pytest.approx(0.04)
    assert mix.context(50_000) == pytest.approx(2000)
