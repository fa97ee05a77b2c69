"""Latencies and the time that starts take, of the requests and replicas of the window."""

from __future__ import annotations

import pytest

from controller.domain.engine import ServiceOutcomes
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Distribution, Scrape, SourceKind
from controller.domain.serve import ReplicaState
from controller.window.latency import service_outcomes
from controller.window.reach import Moment
from controller.window.window import Window
from tests.captured import (
    Watch,
    all_of,
    edited,
    page,
    ray,
    resumed,
    serve,
    serve_state,
)

LLMD = DeploymentId("llmd", "LLMServer:tiny")
LLM = DeploymentId("llm", "LLMServer:tiny")
T = 1_795_222_400.0
T_SCALING = 1_795_223_200.0
STARTED_AT = 1_795_223_190.4743657


def test_latency_is_of_the_requests_of_the_window_only(watch):
    """Between the two captures 213 requests got their first token; the 275 before must not count."""
    watch.see(ray("llm_loaded", T), serve("llm_loaded", T))
    watch.see(ray("llm_after", T + 30), serve("llm_after", T + 30))

    seen = watch.look(LLM, T + 30).latency

    assert isinstance(seen.ttft_p50_s, Known)
    assert isinstance(seen.ttft_p95_s, Known)
    assert 0.02 < seen.ttft_p50_s.value < seen.ttft_p95_s.value < 2.5
    assert isinstance(seen.itl_p50_s, Known)
    assert isinstance(seen.itl_p95_s, Known)
    assert 0.0 < seen.itl_p50_s.value <= seen.itl_p95_s.value < 0.2


def test_latency_merges_replicas_exactly(watch):
    name = "ray_vllm_time_to_first_token_seconds_bucket"
    before = after = page("ray_8080_llmd_2replicas")
    bounds = {label[1] for one in before if one.name == name for label in one.labels if label[0] == "le"}
    for bound in bounds:
        if float(bound) >= 0.5:
            after = edited(after, name, add=90, le=bound, ReplicaId="cc2jsx16")
        if float(bound) >= 5.0:
            after = edited(after, name, add=10, le=bound, ReplicaId="jrlz27m3")
    watch.see(ray(before, T), serve("llmd_2replicas", T))
    watch.see(ray(after, T + 30), serve("llmd_2replicas", T + 30))

    seen = watch.look(LLMD, T + 30).latency

    assert seen.ttft_p50_s == Known(pytest.approx(0.25 + 0.25 * 50 / 90), 0.0)
    assert seen.ttft_p95_s == Known(pytest.approx(2.5 + 2.5 * 5 / 10), 0.0)


def told(at: float, count: float = 100.0) -> Scrape:
    """What Prometheus adds up of a whole deployment."""
    buckets = ((0.1, 0.0), (0.5, count), (float("inf"), count))
    return Scrape(
        source="latency/prometheus:9090",
        kind=SourceKind.LATENCY,
        at=at,
        ok=True,
        distributions=(
            Distribution(deployment=LLMD, family="ray_vllm_time_to_first_token_seconds", seconds=45.0, buckets=buckets),
        ),
    )


def test_latency_that_a_source_adds_up_of_the_whole_deployment_is_taken_from_it(watch):
    watch.see(*all_of("llmd_2replicas", T), told(T - 5.0))

    seen = watch.look(LLMD, T).latency
    outcomes = service_outcomes(Moment(watch.window, T), LLMD, {}, ttft_s=0.3, tpot_s=0.1)

    assert seen.ttft_p50_s == Known(pytest.approx(0.3), 5.0)
    assert isinstance(seen.itl_p50_s, Unknown)
    assert outcomes == ServiceOutcomes(seconds=45.0, first_tokens=100.0, late=50.0, paced=0.0, slow=0.0)


def test_latency_that_is_told_no_more_is_unknown_and_holds_nothing_up(watch):
    watch.see(*all_of("llmd_2replicas", T - 40.0), told(T - 40.0))
    watch.see(*all_of("llmd_2replicas", T))

    seen = watch.look(LLMD, T)

    assert isinstance(seen.latency.ttft_p50_s, Unknown)
    assert [source.source for source in seen.sources if source.stale] == ["latency/prometheus:9090"]
    assert seen.blind_spots == watch_without_latency(T).blind_spots


def watch_without_latency(at: float):
    other = Watch(Window(window_s=30, max_age_s=30))
    other.see(*all_of("llmd_2replicas", at - 40.0))
    other.see(*all_of("llmd_2replicas", at))
    return other.look(LLMD, at)


def test_latency_without_a_finished_request_is_unknown(watch):
    watch.see(*all_of("llm_after12", T), *all_of("llm_after12", T + 30))

    assert isinstance(watch.look(LLM, T + 30).latency.ttft_p95_s, Unknown)


def test_the_startup_percentile_is_read_off_exact_buckets(watch):
    """One start, between 60 and 120 s; Ray's rebuilt sum would say 90 s."""
    watch.see(ray("llmd_loaded", T), serve("llmd_loaded", T))

    assert watch.look(LLMD, T).startup_p90_s == Known(pytest.approx(114.0), 0.0)
    assert isinstance(watch.look(DeploymentId("llmd", "Nothing"), T).startup_p90_s, Unknown)


def test_a_start_that_was_watched_is_told_exactly_once(watch):
    watch.see(serve("llmd_scaleup", T_SCALING))
    assert watch.look(LLMD, T_SCALING).startups == ()

    watch.see(serve("llmd_2replicas", T_SCALING + 20))
    watch.see(serve("llmd_2replicas", T_SCALING + 25))
    (start,) = watch.look(LLMD, T_SCALING + 26).startups
    watch.see(serve("llmd_2replicas", T_SCALING + 30))

    assert (start.replica_id, start.ready_at) == ("jrlz27m3", T_SCALING + 20)
    assert start.seconds == pytest.approx(T_SCALING + 20 - STARTED_AT)
    assert watch.look(LLMD, T_SCALING + 30).startups == ()


def test_a_replica_that_ran_at_first_sight_gives_no_start(watch):
    watch.see(serve("llmd_2replicas", T_SCALING), serve("llmd_2replicas", T_SCALING + 10))

    assert watch.look(LLMD, T_SCALING + 10).startups == ()


def test_a_recovered_replica_gives_no_start(watch):
    recovering = resumed(serve_state("llmd_2replicas"), {"state": ReplicaState.RECOVERING})
    watch.see(serve(recovering, T_SCALING), serve("llmd_2replicas", T_SCALING + 10))

    assert watch.look(LLMD, T_SCALING + 10).startups == ()


@pytest.mark.parametrize("skew", [-8000.0, 100.0], ids=["over two hours", "in the future"])
def test_a_start_time_that_cannot_be_is_left_out(watch, skew):
    changed = {"started_at": T_SCALING + skew}
    starting = resumed(serve_state("llmd_scaleup"), {**changed, "state": ReplicaState.STARTING})
    watch.see(serve(starting, T_SCALING), serve(resumed(serve_state("llmd_2replicas"), changed), T_SCALING + 10))

    assert watch.look(LLMD, T_SCALING + 10).startups == ()
