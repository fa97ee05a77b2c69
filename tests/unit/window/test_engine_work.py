"""What engines did over the window, from recorded pages moved on by known amounts."""

import math

import pytest

from controller.domain.identity import DeploymentId
from controller.window import histogram
from controller.window.engine_work import EngineWork, engine_work
from controller.window.reach import Moment
from controller.window.window import Window
from tests.captured import edited, page, ray, serve

LLMD = DeploymentId("llmd", "LLMServer:tiny")
T = 1_795_222_400.0
ITERATIONS = "ray_vllm_iteration_tokens_total_count"
PER_STEP = {
    ITERATIONS: 400.0,
    "ray_vllm_generation_tokens_total": 4000.0,
    "ray_vllm_prompt_tokens_total": 9000.0,
    "ray_vllm_num_preemptions_total": 1.0,
}


def seen_over(steps: int, *, every_s: float = 10.0, moving=bool) -> EngineWork:
    window = Window(window_s=30, max_age_s=30)
    samples = page("ray_8080_llmd_kv_pressure")
    for step in range(steps):
        if step and moving(step):
            for name, more in PER_STEP.items():
                samples = edited(samples, name, add=more)
        window.record(ray(samples, T + step * every_s))
        window.record(serve("llmd_kv_pressure", T + step * every_s))
    return engine_work(Moment(window, T + (steps - 1) * every_s), LLMD, ttft_s=2.0, tpot_s=0.1)


def test_counters_become_increases_over_the_time_they_took():
    (interval,) = seen_over(6).intervals

    assert (interval.until, interval.seconds) == (T + 50, 30.0)
    assert interval.iterations == 1200.0
    assert interval.generation_tokens == 12_000.0
    assert interval.prompt_tokens == 27_000.0
    assert interval.preemptions == 3.0
    assert interval.model == "tiny"
    assert interval.running is not None
    assert interval.kv_usage is not None


def test_time_counts_only_from_change_to_change():
    (interval,) = seen_over(12, every_s=5.0, moving=lambda step: step % 3 == 0).intervals

    # Changes at 15, 30 and 45 s: the last 10 s, in which nothing came, are not the engine's.
    assert (interval.until, interval.seconds) == (T + 45, 15.0)
    assert interval.iterations == 400.0


@pytest.mark.parametrize("steps", [1, 2])
def test_two_changes_are_needed(steps):
    assert seen_over(steps).intervals == ()


def test_nothing_is_known_of_a_deployment_that_is_not_there():
    window = Window(window_s=30, max_age_s=30)

    assert engine_work(Moment(window, T), LLMD, ttft_s=2.0, tpot_s=0.1) == EngineWork(intervals=(), outcomes=None)


def test_observations_beyond_a_limit_are_counted_evenly_within_their_bucket():
    buckets = {1.0: 10.0, 2.0: 20.0, 4.0: 30.0, math.inf: 35.0}

    assert histogram.beyond(buckets, 3.0) == (10.0, 35.0)
    assert histogram.beyond(buckets, 4.0) == (5.0, 35.0)
    assert histogram.beyond(buckets, 0.0) == (35.0, 35.0)
    assert histogram.beyond({}, 1.0) == (0.0, 0)
