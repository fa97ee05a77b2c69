from dataclasses import replace

import pytest

from controller.planner.capacity.batches import Batches, batches, idle_share
from tests.synthetic_engine import RTX_4090, SyntheticEngine


@pytest.mark.parametrize(
    ("prompt", "output", "rate", "within"),
    [(1155, 211, 1.0, 0.02), (1155, 211, 3.0, 0.01), (2000, 100, 2.0, 0.02), (300, 400, 4.0, 0.01)],
)
def test_the_mean_iteration_of_an_engine_is_read_off_its_counters(prompt, output, rate, within):
    engine = SyntheticEngine(RTX_4090, prompt, output, rate)
    engine.interval(30.0)

    seen = batches(engine.interval(600.0), usual_context=0.0, kv_cache_tokens=engine.kv_tokens)

    assert isinstance(seen, Batches)
    expected = RTX_4090.seconds(
        sequences=seen.sequences, context_tokens=seen.context_tokens, prefill_tokens=seen.prefill_tokens
    )
    assert seen.seconds == pytest.approx(expected, rel=within + 0.02)


def test_cached_prompt_tokens_are_not_counted_as_prefilled():
    interval = SyntheticEngine(RTX_4090, 1000, 200, 3.0).interval(60.0)

    seen = batches(replace(interval, cached_tokens=interval.prompt_tokens), usual_context=1000, kv_cache_tokens=None)

    assert isinstance(seen, Batches)
    assert seen.prefill_tokens == 0.0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ready_s": 70.0}, "warming up"),
        ({"iterations": 3.0}, "too few iterations"),
        ({"running": 0.0}, "idle when looked at"),
        ({"preemptions": 50.0}, "requests were preempted"),
    ],
)
def test_intervals_that_teach_nothing_are_left_out_with_a_reason(changes, why):
    interval = SyntheticEngine(RTX_4090, 1000, 200, 3.0).interval(60.0)

    assert batches(replace(interval, **changes), usual_context=1000, kv_cache_tokens=None) == why


def test_an_engine_with_few_requests_is_left_out():
    interval = SyntheticEngine(RTX_4090, 1000, 200, 0.2).interval(60.0)

    answer = batches(interval, usual_context=1000, kv_cache_tokens=None)

    assert isinstance(answer, str)
    assert "idle for" in answer


def test_the_idle_share_falls_with_the_batch():
    shares = [idle_share(size) for size in (0.5, 1.0, 1.2, 2.0, 5.0, 50.0)]

    assert shares[0] == shares[1] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.0, abs=1e-12)
