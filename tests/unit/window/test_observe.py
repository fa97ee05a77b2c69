"""What a snapshot tells beside demand: replicas and failures; and what the clock does to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import SourceKind
from controller.domain.serve import ReplicaState, ServeState
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency, ReplicaCounts, Snapshot
from controller.window.observe import observe
from tests.captured import (
    HAPROXY,
    RAY,
    SERVE,
    all_of,
    edited,
    failed,
    haproxy,
    page,
    ray,
    resumed,
    serve,
    serve_state,
    without,
)

LLMD = DeploymentId("llmd", "LLMServer:tiny")
LLM = DeploymentId("llm", "LLMServer:tiny")
LIGHT = DeploymentId("light", "Echo")
T = 1_795_222_400.0
T_PRESSURE = 1_795_223_130.0
FAILURES = "ray_serve_num_http_error_requests_total"
SERVED = "ray_serve_deployment_request_counter_total"


@pytest.mark.parametrize(
    ("name", "counts", "target", "status"),
    [
        ("llmd_2replicas", ReplicaCounts(ready=2, starting=0, stopping=0), 2, "HEALTHY"),
        ("llmd_scaleup", ReplicaCounts(ready=1, starting=1, stopping=0), 2, "HEALTHY"),
        ("llmd_scaledown", ReplicaCounts(ready=1, starting=0, stopping=1), 1, "HEALTHY"),
        ("llmd_deploy_failed", ReplicaCounts(ready=0, starting=0, stopping=0), 1, "DEPLOY_FAILED"),
    ],
)
def test_replicas_and_target_are_serves(watch, name, counts, target, status):
    watch.see(serve(name, T))

    seen = watch.look(LLMD, T)

    assert (seen.replicas, seen.target_replicas, seen.config_replicas, seen.status) == (counts, target, 1, status)
    assert seen.config_digest


@pytest.mark.parametrize(
    "state", [ReplicaState.STARTING, ReplicaState.UPDATING, ReplicaState.RECOVERING, ReplicaState.PENDING_MIGRATION]
)
def test_replicas_that_will_serve_count_as_starting(watch, state):
    watch.see(serve(resumed(serve_state("llmd_2replicas"), {"state": state}), T))

    assert watch.look(LLMD, T).replicas == ReplicaCounts(ready=0, starting=2, stopping=0)


def test_a_stale_state_is_unknown_and_a_blind_spot(watch):
    watch.see(*all_of("llmd_loaded", T))
    for at in (15, 31):
        watch.see(failed(SourceKind.SERVE, SERVE, T + at), ray("llmd_loaded", T + at), haproxy("llmd_loaded", T + at))

    seen = watch.look(LLMD, T + 31)

    assert (seen.target_replicas, seen.replicas, seen.config_replicas, seen.status) == (None, None, None, "UNKNOWN")
    assert seen.blind_spots == (f"{SERVE} last answered 31 s ago (limit 30 s): connection refused",)
    assert seen.reading(Signal.ONGOING_REQUESTS) == Known(24.0, 0.0)

    watch.see(failed(SourceKind.HAPROXY, HAPROXY, T + 70), ray("llmd_loaded", T + 70))
    reason = watch.look(LLMD, T + 70).reading(Signal.ONGOING_REQUESTS).reason
    assert "Serve: Serve's state is stale" in reason


def test_of_a_deployment_that_serve_does_not_list_nothing_is_known(watch):
    watch.see(*all_of("llmd_loaded", T))
    other, unknown = DeploymentId("llmd", "LLMServer:other"), Unknown("not deployed")

    seen = watch.look(other, T)

    assert seen == Snapshot(
        at=T,
        id=other,
        target_replicas=None,
        config_replicas=None,
        config_digest=None,
        replicas=None,
        status="NOT_DEPLOYED",
        demand=dict.fromkeys(Signal, unknown),
        queued_requests=unknown,
        shed_per_s=unknown,
        errors_per_s=unknown,
        kv_cache_usage=unknown,
        latency=Latency(ttft_p50_s=unknown, ttft_p95_s=unknown, itl_p50_s=unknown, itl_p95_s=unknown),
        idle=False,
        startup_p90_s=unknown,
        sources=seen.sources,
    )
    assert {source.source for source in seen.sources} == {RAY, HAPROXY, SERVE}


def test_each_deployment_is_told_by_its_own_name_in_the_order_asked(watch):
    watch.see(*all_of("llmd_loaded", T))
    other = DeploymentId("llmd", "LLMServer:other")

    found = observe(watch.window, [other, LLMD], T)

    assert [(one.id, one.at, one.status) for one in found] == [(other, T, "NOT_DEPLOYED"), (LLMD, T, "HEALTHY")]
    assert found[0].sources == found[1].sources


def test_refused_requests_are_shed_and_would_have_been_in_flight(watch):
    pressed = page("ray_8080_llmd_kv_pressure")
    later = edited(pressed, FAILURES, add=60, error_code="503")
    later = edited(later, SERVED, add=30, replica="cc2jsx16")
    for bound in ("120.0", "240.0", "480.0", "960.0", "1920.0", "7680.0", "+Inf"):
        later = edited(later, "ray_vllm_e2e_request_latency_seconds_bucket", add=30, le=bound)
    watch.see(ray(pressed, T_PRESSURE), serve("llmd_kv_pressure", T_PRESSURE))
    watch.see(ray(later, T_PRESSURE + 30), serve("llmd_kv_pressure", T_PRESSURE + 30))

    seen = watch.look(LLMD, T_PRESSURE + 30)

    assert seen.shed_per_s == Known(2.0, 0.0)
    assert seen.errors_per_s == Known(0.0, 0.0)
    assert seen.reading(Signal.REQUESTS) == Known(1.0 + 2.0, 0.0)
    assert seen.reading(Signal.ONGOING_REQUESTS) == Known(24.0 + 2.0 * 90.0, 0.0)


def test_the_first_refused_requests_count_although_their_counter_is_new(watch):
    pressed = page("ray_8080_llmd_kv_pressure")
    watch.see(ray(without(pressed, FAILURES), T), serve("llmd_kv_pressure", T))
    watch.see(ray(edited(pressed, FAILURES, to=90), T + 30), serve("llmd_kv_pressure", T + 30))

    assert watch.look(LLMD, T + 30).shed_per_s == Known(3.0, 0.0)


def test_other_5xx_are_errors_and_a_client_that_left_is_neither(watch):
    before = page("ray_8080_llm_errors")
    after = edited(edited(before, FAILURES, add=15, error_code="500"), FAILURES, add=700, error_code="499")
    watch.see(ray(before, T), serve("llm_errors", T))
    watch.see(ray(after, T + 30), serve("llm_errors", T + 30))

    light = observe(watch.window, [LIGHT], T + 30)[0]
    watch.see(serve(_with_application("llm_errors", "light"), T + 31))
    light = observe(watch.window, [LIGHT], T + 31)[0]

    assert light.errors_per_s == Known(0.5, 1.0)
    assert light.shed_per_s == Known(0.0, 1.0)


def _with_application(name: str, wanted: str) -> ServeState:
    template = serve_state(name).applications[0]
    deployment = replace(template.deployments[0], id=DeploymentId(wanted, "Echo"), replicas=())
    return ServeState(applications=(replace(template, name=wanted, deployments=(deployment,)),))


def test_failures_of_an_application_that_was_never_asked_are_unknown(watch):
    watch.see(ray(without(page("ray_8080_llmd_loaded"), "ray_serve_num_http", application="llmd"), T))
    watch.see(serve("llmd_loaded", T))

    assert isinstance(watch.look(LLMD, T).shed_per_s, Unknown)


def test_while_ray_is_not_read_haproxy_tells_the_errors(watch):
    front = page("haproxy_9101_fault_engine")
    via_router = "http-llmd-via-ingress-request-router"
    later = edited(front, "haproxy_backend_http_responses_total", add=12, proxy=via_router, code="5xx")
    watch.see(haproxy(front, T), serve("fault_engine", T))
    watch.see(haproxy(later, T + 30), serve("fault_engine", T + 30))

    seen = watch.look(LLMD, T + 30)

    assert seen.errors_per_s == Known(pytest.approx(0.4), 0.0)
    assert isinstance(seen.shed_per_s, Unknown)


def test_scrapes_that_are_late_or_repeated_change_nothing(watch):
    tokens = "ray_vllm_generation_tokens_total"
    loaded = page("ray_8080_llmd_loaded")
    orderly = [(0, 0), (10, 100), (20, 200), (30, 300)]
    for at, grown in (*orderly, (20, 200), (30, 300), (5, 9_999_999), (30, 0)):
        watch.see(ray(edited(loaded, tokens, add=grown + 1), T + at), serve("llmd_loaded", T + at))

    assert watch.look(LLMD, T + 30).reading(Signal.DECODE_TOKENS) == Known(10.0, 0.0)


def test_after_the_clock_was_set_back_the_window_starts_anew(watch):
    watch.see(*all_of("llmd_loaded", T + 3600), *all_of("llmd_loaded", T + 3630))

    watch.see(*all_of("llm_after12", T))
    first = watch.look(LLM, T)
    for at in (15, 30):
        watch.see(*all_of("llm_after12", T + at))
    second = watch.look(LLM, T + 30)

    assert isinstance(first.reading(Signal.DECODE_TOKENS), Unknown)
    assert second.idle
    assert second.blind_spots == ()
    assert [source.age_s for source in second.sources] == [0.0, 0.0, 0.0]


def test_after_the_clock_was_set_back_an_old_answer_does_not_stay_fresh(watch):
    watch.see(*all_of("llmd_loaded", T + 3600))

    watch.see(
        failed(SourceKind.SERVE, SERVE, T), failed(SourceKind.RAY, RAY, T), failed(SourceKind.HAPROXY, HAPROXY, T)
    )
    seen = watch.look(LLMD, T)

    assert len(seen.blind_spots) == 3
    assert seen.replicas is None
    assert isinstance(seen.reading(Signal.ONGOING_REQUESTS), Unknown)


def test_memory_is_bounded_however_long_it_runs(watch):
    for tick in range(300):
        watch.see(ray("llmd_loaded", T + tick), serve("llmd_loaded", T + tick))

    assert max(len(series.times) for one in watch.window._index.values() for series in one) <= 61


def test_series_and_sources_that_are_gone_are_forgotten(watch):
    watch.see(ray("llmd_loaded", T), ray("light_idle", T, source="ray/10.0.0.9:8080"))
    for tick in range(10, 300, 10):
        watch.see(ray("llm_after12", T + tick))

    assert watch.window.find("ray_vllm_generation_tokens_total", "wezrga03") == ()
    assert set(watch.window._sources) == {RAY}
