import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.capacity import IterationTime
from controller.planner.capacity.mix import TokenMix
from controller.planner.capacity.safety import evidence_for, safe_utilisation
from controller.planner.capacity.sustainable import EngineLimits, FullLoad, full_load
from tests.synthetic_engine import RTX_4090

CHAT = TokenMix(prompt_tokens=1155, output_tokens=211, context_tokens=1227)
ENGINE = EngineLimits(kv_cache_tokens=41_900, max_num_seqs=256, max_num_batched_tokens=2048)


def loaded(time=RTX_4090, mix=CHAT, limits=ENGINE, *, ttft_s=2.0, tpot_s=0.1) -> FullLoad:
    return full_load(time, mix, limits, ttft_s=ttft_s, tpot_s=tpot_s)


def test_the_batch_is_in_balance():
    full = loaded()

    assert full.concurrency == pytest.approx(full.requests_per_s * 211 * full.iteration_s)
    prefilled = full.requests_per_s * 1155 * full.iteration_s
    assert full.iteration_s == pytest.approx(
        RTX_4090.seconds(sequences=full.concurrency, context_tokens=full.concurrency * 1227, prefill_tokens=prefilled)
    )
    assert full.request_s == pytest.approx(211 * full.decode_token_s + 1155 * full.prefill_token_s)


@pytest.mark.parametrize(
    ("limits", "objectives", "bound"),
    [
        (ENGINE, {}, "KV cache"),
        (EngineLimits(max_num_seqs=16), {}, "max_num_seqs"),
        (EngineLimits(max_num_batched_tokens=64), {}, "max_num_batched_tokens"),
        (EngineLimits(), {}, "time per output token"),
        (ENGINE, {"ttft_s": 0.23}, "time to first token"),
    ],
)
def test_the_tightest_bound_is_named(limits, objectives, bound):
    full = loaded(limits=limits, **objectives)

    assert full.bound == bound
    assert full.feasible


def test_the_pace_promised_is_kept_at_full_load():
    assert loaded(limits=EngineLimits()).iteration_s == pytest.approx(0.085, abs=0.01)


def test_short_answers_beside_long_prompts_need_a_margin_for_their_pace():
    long_prompts = TokenMix(prompt_tokens=3000, output_tokens=30, context_tokens=3000)

    assert loaded(mix=long_prompts, limits=EngineLimits()).iteration_s < 0.06


def test_a_prefix_cache_raises_what_is_carried():
    cached = TokenMix(prompt_tokens=1155, output_tokens=211, context_tokens=1227, cached_share=0.6)

    assert loaded(mix=cached).requests_per_s > 1.2 * loaded().requests_per_s


def test_an_objective_that_a_lone_request_misses_is_said_and_one_at_a_time_assumed():
    full = loaded(tpot_s=0.01)

    assert not full.feasible
    assert full.concurrency <= 1.0


def test_less_load_needs_fewer_at_once():
    full = loaded()

    assert full.concurrency_at(1.0) == pytest.approx(full.concurrency)
    assert full.concurrency_at(0.5) < 0.5 * full.concurrency


seconds = st.floats(1e-7, 1.0)
times = st.builds(
    IterationTime,
    base_s=seconds,
    per_sequence_s=seconds,
    per_context_token_s=st.floats(1e-10, 1e-3),
    per_prefill_token_s=st.floats(1e-7, 1e-2),
)
mixes = st.builds(
    TokenMix,
    prompt_tokens=st.floats(1, 1e5),
    output_tokens=st.floats(1, 1e4),
    cached_share=st.floats(0, 1),
    kv_share=st.none() | st.floats(1e-4, 1.0),
)
limits = st.builds(
    EngineLimits,
    kv_cache_tokens=st.none() | st.floats(1, 1e7),
    max_num_seqs=st.none() | st.floats(1, 1024),
    max_num_batched_tokens=st.floats(16, 65_536),
)
seconds_promised = st.floats(1e-3, 100.0)
objectives = st.tuples(seconds_promised, seconds_promised)
factors = st.floats(1.0, 50.0)


def carried(full: FullLoad) -> float:
    return full.requests_per_s * safe_utilisation(evidence_for((), 0), full, 3)


@given(times, mixes, limits, objectives)
def test_capacity_is_always_a_positive_number(time, mix, limits, promised):
    full = full_load(time, mix, limits, ttft_s=promised[0], tpot_s=promised[1])

    for value in (carried(full), full.concurrency, full.concurrency_at(0.7), full.request_s, full.decode_token_s):
        assert math.isfinite(value)
        assert value > 0.0


@given(times, mixes, limits, objectives, st.tuples(factors, factors))
def test_looser_objectives_never_lower_it(time, mix, limits, promised, looser):
    tight = full_load(time, mix, limits, ttft_s=promised[0], tpot_s=promised[1])
    loose = full_load(time, mix, limits, ttft_s=promised[0] * looser[0], tpot_s=promised[1] * looser[1])

    assert carried(loose) >= carried(tight) * (1 - 1e-9)


@given(times, mixes, limits, objectives, st.tuples(factors, factors, factors, factors))
def test_a_slower_engine_never_carries_more(time, mix, limits, promised, by):
    slower = IterationTime(
        base_s=time.base_s * by[0],
        per_sequence_s=time.per_sequence_s * by[1],
        per_context_token_s=time.per_context_token_s * by[2],
        per_prefill_token_s=time.per_prefill_token_s * by[3],
    )
    fast = full_load(time, mix, limits, ttft_s=promised[0], tpot_s=promised[1])
    slow = full_load(slower, mix, limits, ttft_s=promised[0], tpot_s=promised[1])

    assert carried(slow) <= carried(fast) * (1 + 1e-9)
