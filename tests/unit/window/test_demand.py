"""Requests in flight, arrivals and tokens, from independent views that each miss something at times."""

from __future__ import annotations

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Sample, SourceKind
from controller.domain.signals import MEASURED, Signal
from controller.window.observe import observe
from controller.window.reach import Moment
from controller.window.replica_gauges import serve_view
from controller.window.window import Window
from tests.captured import (
    HAPROXY,
    RAY,
    Watch,
    edited,
    failed,
    haproxy,
    page,
    ray,
    serve,
    without,
)

LLMD = DeploymentId("llmd", "LLMServer:tiny")
LLM = DeploymentId("llm", "LLMServer:tiny")
AUTO = DeploymentId("auto", "Echo")
T = 1_795_222_400.0
T_FAULT = 1_795_224_300.0

ONGOING = Signal.ONGOING_REQUESTS
TOKENS = "ray_vllm_generation_tokens_total"
PROMPT = "ray_vllm_prompt_tokens_total"
PROCESSING = "ray_serve_replica_processing_queries"
SERVED = "ray_serve_deployment_request_counter_total"
SESSIONS = "haproxy_backend_current_sessions"
ARRIVED = "haproxy_backend_http_requests_total"
STARTED = "haproxy_process_start_time_seconds"
VIA_ROUTER = "http-llmd-via-ingress-request-router"

LOADED = page("ray_8080_llmd_loaded")
FRONT = page("haproxy_9101_llmd_loaded")


def test_all_views_of_a_loaded_replica_agree(watch):
    watch.see(ray("llmd_loaded", T), haproxy("llmd_loaded", T), serve("llmd_loaded", T))

    seen = watch.look(LLMD, T + 2)

    assert seen.reading(ONGOING) == Known(24.0, 2.0)
    assert seen.queued_requests == Known(8.0, 2.0)
    assert isinstance(seen.kv_cache_usage, Known)
    assert not seen.idle


def test_requests_that_have_not_reached_a_replica_are_seen_at_the_front_door(watch):
    watch.see(ray("llmd_kv_pressure", T), haproxy("llmd_kv_pressure", T), serve("llmd_kv_pressure", T))

    seen = watch.look(LLMD, T)

    assert seen.reading(ONGOING) == Known(29.0, 0.0)
    assert seen.kv_cache_usage == Known(1.0, 0.0)


def test_a_reloaded_haproxy_that_hides_its_old_process_does_not_hide_the_load(watch):
    reloaded = edited(edited(FRONT, SESSIONS, to=3, proxy=VIA_ROUTER), STARTED, add=60)
    watch.see(ray("llmd_loaded", T), haproxy(reloaded, T), serve("llmd_loaded", T))

    assert watch.look(LLMD, T).reading(ONGOING) == Known(24.0, 0.0)


def test_a_front_door_shared_by_two_asked_deployments_is_nobodys(watch):
    watch.see(ray("llmd_kv_pressure", T), haproxy("llmd_kv_pressure", T), serve("llmd_kv_pressure", T))

    router, server = observe(watch.window, [DeploymentId("llmd", "LLMRouter"), LLMD], T)

    assert router.reading(ONGOING) == Known(0.0, 0.0)
    assert server.reading(ONGOING) == Known(24.0, 0.0)


def test_a_handle_that_reads_zero_is_no_evidence_of_no_queue(watch):
    handles_only = without(without(LOADED, PROCESSING), "ray_vllm_num_requests")
    assert any(sample.name == "ray_serve_deployment_queued_queries" for sample in handles_only)
    watch.see(ray(handles_only, T), serve("llmd_loaded", T))

    assert isinstance(watch.look(LLMD, T).reading(ONGOING), Unknown)


def test_gauges_of_replicas_that_serve_no_longer_lists_do_not_count(watch):
    dead = Sample(
        PROCESSING, (("application", "llmd"), ("deployment", "LLMServer:tiny"), ("replica", "dead0000")), 99.0
    )
    dead_engine = Sample("ray_vllm_num_requests_waiting", (("ReplicaId", "dead0000"), ("engine", "0")), 99.0)
    watch.see(ray((*LOADED, dead, dead_engine), T), serve("llmd_loaded", T))

    seen = watch.look(LLMD, T)

    assert seen.reading(ONGOING) == Known(24.0, 0.0)
    assert seen.queued_requests == Known(8.0, 0.0)


def test_engine_series_are_joined_by_replica_and_not_by_model_name(watch):
    """Both applications serve a model called tiny."""
    later = edited(LOADED, TOKENS, add=3000, ReplicaId="gl13wlz7")
    for at, samples in ((0, LOADED), (30, later)):
        watch.see(ray(samples, T + at), serve("llmd_loaded", T + at))

    direct, other = observe(watch.window, [LLMD, LLM], T + 30)

    assert direct.reading(Signal.DECODE_TOKENS) == Known(0.0, 0.0)
    assert other.reading(Signal.DECODE_TOKENS) == Known(100.0, 0.0)


def test_absent_engine_gauges_beside_standing_counters_are_a_known_zero(watch):
    for at in (0, 10, 20, 30):
        watch.see(ray("llm_after12", T + at), haproxy("llm_after12", T + at), serve("llm_after12", T + at))

    seen = watch.look(LLM, T + 30)

    assert all(seen.reading(signal) == Known(0.0, 0.0) for signal in MEASURED)
    assert seen.queued_requests == Known(0.0, 0.0)
    assert seen.kv_cache_usage == Known(0.0, 0.0)
    assert seen.idle
    assert seen.blind_spots == ()


def test_absent_engine_gauges_beside_moving_counters_are_unknown(watch):
    without_gauges = page("ray_8080_llm_after12")
    watch.see(ray(without_gauges, T), serve("llm_after12", T))
    watch.see(ray(edited(without_gauges, TOKENS, add=50), T + 10), serve("llm_after12", T + 10))

    seen = watch.look(LLM, T + 10)

    assert isinstance(seen.queued_requests, Unknown)
    assert isinstance(seen.kv_cache_usage, Unknown)


def test_absent_engine_gauges_seen_once_prove_nothing(watch):
    watch.see(ray("llm_after12", T), serve("llm_after12", T))

    assert isinstance(watch.look(LLM, T).kv_cache_usage, Unknown)


def test_absence_on_a_page_that_was_read_in_part_proves_nothing(watch):
    for at in (0, 10, 20, 30):
        watch.see(
            ray("llm_after12", T + at, errors=("malformed value: 'x'",)),
            haproxy("llm_after12", T + at),
            serve("llm_after12", T + at),
        )

    assert isinstance(watch.look(LLM, T + 30).kv_cache_usage, Unknown)


def test_a_gauge_that_is_not_a_number_is_unknown_and_reported(watch):
    broken = edited(page("ray_8080_llm_after"), "ray_vllm_kv_cache_usage_perc", to=float("nan"))
    for at in (0, 10):
        watch.see(ray(broken, T + at), serve("llm_after", T + at))

    seen = watch.look(LLM, T + 10)

    assert isinstance(seen.kv_cache_usage, Unknown)
    assert "1 samples were left out" in (seen.sources[0].error or "")


def test_a_lingering_gauge_is_believed_until_it_expires(watch):
    watch.see(
        ray("llmd_loaded", T), haproxy(edited(FRONT, SESSIONS, to=0, proxy=VIA_ROUTER), T), serve("llmd_loaded", T)
    )

    assert watch.look(LLMD, T).reading(ONGOING) == Known(24.0, 0.0)


def test_a_stale_agent_makes_engine_and_serve_unknown_but_not_the_front_door(watch):
    watch.see(ray("llmd_loaded", T))
    for at in (10, 20, 31):
        watch.see(failed(SourceKind.RAY, RAY, T + at), haproxy("llmd_loaded", T + at), serve("llmd_loaded", T + at))

    seen = watch.look(LLMD, T + 31)

    assert seen.reading(ONGOING) == Known(24.0, 0.0)
    assert isinstance(seen.reading(Signal.DECODE_TOKENS), Unknown)
    assert isinstance(seen.kv_cache_usage, Unknown)
    assert isinstance(seen.shed_per_s, Unknown)


def test_without_any_view_the_reason_names_each_of_them(watch):
    watch.see(serve("llmd_loaded", T))

    reading = watch.look(LLMD, T).reading(ONGOING)

    assert isinstance(reading, Unknown)
    assert [part.split(":")[0] for part in reading.reason.split("; ")] == ["HAProxy", "Serve", "vLLM"]


def test_why_serves_view_is_unknown_is_told(watch):
    def told(at: float) -> str:
        moment = Moment(watch.window, at)
        found = moment.window.serve(at).state.deployment(LLMD)
        view = serve_view(moment, found, watch.window.known_replicas(LLMD))
        return view.in_flight.reason, view.arrivals.reason

    watch.see(serve("llmd_loaded", T - 40), serve("llmd_loaded", T))
    assert told(T) == ("no Ray metrics agent is scraped",) * 2

    watch.see(ray(without(LOADED, "ray_serve_replica", "ray_serve_deployment_request"), T))
    [replica] = watch.window.serve(T).state.deployment(LLMD).replicas
    assert told(T) == (f"replica {replica.replica_id} shows no gauge",) * 2

    watch.see(failed(SourceKind.RAY, RAY, T + 31), serve("llmd_loaded", T + 31))
    assert told(T + 31) == (f"{RAY} is stale",) * 2


def test_what_waits_in_the_engines_is_known_without_serves_gauges(watch):
    watch.see(ray(without(LOADED, "ray_serve_replica"), T), serve("llmd_loaded", T))

    seen = watch.look(LLMD, T)

    assert isinstance(seen.queued_requests, Known)


def test_a_counter_seen_once_is_said_to_need_more(watch):
    watch.see(serve("llmd_loaded", T - 40), serve("llmd_loaded", T), ray("llmd_loaded", T))
    moment = Moment(watch.window, T)
    found = moment.window.serve(T).state.deployment(LLMD)

    view = serve_view(moment, found, watch.window.known_replicas(LLMD))

    assert view.arrivals.reason.endswith(": not enough scrapes yet")


def test_one_silent_replica_does_not_make_the_rest_look_like_all(watch):
    """The gauge of the killed replica is gone; its engine's counters stand still."""
    watch.see(ray("fault_replica", T_FAULT), serve("fault_replica", T_FAULT))

    assert isinstance(watch.look(LLMD, T_FAULT).reading(ONGOING), Unknown)

    watch.see(haproxy("fault_replica", T_FAULT))

    assert watch.look(LLMD, T_FAULT).reading(ONGOING) == Known(4.0, 0.0)


def test_arrivals_survive_the_reload_that_restarts_haproxys_counters(watch):
    before = edited(FRONT, ARRIVED, to=10_143, proxy=VIA_ROUTER)
    reloaded = edited(edited(FRONT, ARRIVED, to=16, proxy=VIA_ROUTER), STARTED, to=T + 25)
    quiet = edited(FRONT, ARRIVED, to=9_993, proxy=VIA_ROUTER)
    for at, front in ((0, quiet), (20, before), (30, edited(reloaded, ARRIVED, to=0, proxy="http-llmd"))):
        watch.see(haproxy(front, T + at), ray("llmd_loaded", T + at), serve("llmd_loaded", T + at))

    assert watch.look(LLMD, T + 30).reading(Signal.REQUESTS) == Known(pytest.approx((150 + 16) / 30), 0.0)


def test_a_restart_shows_by_the_start_time_even_where_the_counter_did_not_drop(watch):
    first = edited(FRONT, ARRIVED, to=10, proxy=VIA_ROUTER)
    reloaded = edited(edited(FRONT, ARRIVED, to=40, proxy=VIA_ROUTER), STARTED, to=T + 5)
    watch.see(haproxy(first, T), serve("llmd_loaded", T))
    watch.see(haproxy(edited(reloaded, ARRIVED, to=0, proxy="http-llmd"), T + 30), serve("llmd_loaded", T + 30))

    assert watch.look(LLMD, T + 30).reading(Signal.REQUESTS) == Known(pytest.approx(40 / 30), 0.0)


@pytest.mark.parametrize(("at_the_door", "expected"), [(285, 9.75), (300, 10.0), (312, 10.2), (340, 34 / 3)])
def test_arrivals_are_the_mean_of_two_counts_that_agree_and_the_larger_of_two_that_do_not(watch, at_the_door, expected):
    """A rate of 10/s over 30 s is known to about 0.6/s; the larger of two such counts was once 5 % too high."""
    served = edited(LOADED, SERVED, add=300, replica="wezrga03", route="/d/v1/chat/completions")
    arrived = edited(FRONT, ARRIVED, add=at_the_door, proxy=VIA_ROUTER)
    watch.see(ray(LOADED, T), haproxy(FRONT, T), serve("llmd_loaded", T))
    watch.see(ray(served, T + 30), haproxy(arrived, T + 30), serve("llmd_loaded", T + 30))

    assert watch.look(LLMD, T + 30).reading(Signal.REQUESTS) == Known(pytest.approx(expected), 0.0)


def test_arrivals_are_the_larger_of_front_door_and_replicas_that_disagree(watch):
    served = edited(LOADED, SERVED, add=300, replica="wezrga03", route="/d/v1/chat/completions")
    arrived = edited(FRONT, ARRIVED, add=60, proxy=VIA_ROUTER)
    watch.see(ray(LOADED, T), haproxy(FRONT, T), serve("llmd_loaded", T))
    watch.see(ray(served, T + 30), haproxy(arrived, T + 30), serve("llmd_loaded", T + 30))

    assert watch.look(LLMD, T + 30).reading(Signal.REQUESTS) == Known(10.0, 0.0)


def test_token_rates_come_from_the_time_that_the_points_span(watch):
    for at in (0, 12, 24, 36):
        grown = edited(edited(LOADED, TOKENS, add=10 * at + 1), PROMPT, add=5 * at + 1)
        watch.see(ray(grown, T + at), serve("llmd_loaded", T + at))

    seen = watch.look(LLMD, T + 37)

    assert seen.reading(Signal.DECODE_TOKENS) == Known(pytest.approx(10.0), 1.0)
    assert seen.reading(Signal.PREFILL_TOKENS) == Known(pytest.approx(5.0), 1.0)


def test_a_rate_over_less_than_half_a_window_is_unknown(watch):
    """Ray's agents refresh counters in steps, so two near points show no step or a whole one."""
    watch.see(ray(LOADED, T), serve("llmd_loaded", T))
    watch.see(ray(edited(LOADED, TOKENS, add=500), T + 10), serve("llmd_loaded", T + 10))

    assert isinstance(watch.look(LLMD, T + 10).reading(Signal.DECODE_TOKENS), Unknown)


def test_an_agent_that_restarts_shows_old_totals_and_no_burst(watch):
    without_engines = without(without(LOADED, "ray_vllm"), "ray_serve_replica", "ray_serve_deployment_request")
    for at, samples in ((0, LOADED), (30, LOADED), (60, without_engines), (90, without_engines), (120, LOADED)):
        watch.see(ray(samples, T + at), serve("llmd_loaded", T + at))

    assert isinstance(watch.look(LLMD, T + 120).reading(Signal.DECODE_TOKENS), Unknown)

    watch.see(ray(edited(LOADED, TOKENS, add=300), T + 150), serve("llmd_loaded", T + 150))

    assert watch.look(LLMD, T + 150).reading(Signal.DECODE_TOKENS) == Known(10.0, 0.0)


def test_a_counter_that_appears_in_a_process_already_seen_counts_from_zero(watch):
    """The engine's first tokens come minutes after its replica was ready."""
    untouched = without(LOADED, "ray_vllm", ReplicaId="wezrga03")
    untouched = edited(without(untouched, SERVED, replica="wezrga03"), PROCESSING, to=0, replica="wezrga03")
    first = edited(edited(LOADED, TOKENS, to=600, ReplicaId="wezrga03"), PROMPT, to=30, ReplicaId="wezrga03")
    for at, samples in ((0, untouched), (15, untouched), (30, first)):
        watch.see(ray(samples, T + at), serve("llmd_loaded", T + at))

    seen = watch.look(LLMD, T + 30)

    assert seen.reading(Signal.DECODE_TOKENS) == Known(20.0, 0.0)
    assert seen.reading(Signal.PREFILL_TOKENS) == Known(1.0, 0.0)


def test_the_tokens_of_a_replica_that_just_left_still_count(watch):
    """Its traffic moved to the others, which show it only from now on."""
    both = page("ray_8080_llmd_2replicas")
    for at in (0, 10, 20):
        watch.see(ray(edited(both, TOKENS, add=10 * at + 1), T + at), serve("llmd_2replicas", T + at))
    for at in (30,):
        moved = edited(edited(both, TOKENS, add=201, ReplicaId="jrlz27m3"), TOKENS, add=301, ReplicaId="cc2jsx16")
        watch.see(ray(moved, T + at), serve("llmd_scaleup", T + at), serve("llmd_kv_pressure", T + at + 0.1))

    assert watch.look(LLMD, T + 30.1).reading(Signal.DECODE_TOKENS) == Known(
        pytest.approx((200 + 300) / 30), pytest.approx(0.1)
    )


def test_a_deployment_without_engines_has_demand_but_no_tokens(watch):
    for at in (0, 30):
        grown = edited(page("ray_8080_light_autoscaling"), SERVED, add=3 * at + 1, replica="p8mwds2c")
        watch.see(ray(grown, T + at), haproxy("light_autoscaling", T + at), serve("light_autoscaling", T + at))

    seen = watch.look(AUTO, T + 30)

    assert seen.reading(ONGOING) == Known(12.0, 0.0)
    assert seen.reading(Signal.REQUESTS) == Known(3.0, 0.0)
    assert isinstance(seen.reading(Signal.DECODE_TOKENS), Unknown)
    assert seen.blind_spots == ()


def test_without_a_running_replica_the_front_door_alone_knows_what_waits(watch):
    waiting = edited(page("haproxy_9101_llmd_deploy_failed"), SESSIONS, to=5, proxy="http-llmd")
    watch.see(haproxy(waiting, T), ray("llmd_deploy_failed", T), serve("llmd_deploy_failed", T))

    assert watch.look(LLMD, T).reading(ONGOING) == Known(5.0, 0.0)


def test_an_age_is_that_of_the_oldest_reading_taken_in_and_never_negative(watch):
    both = page("ray_8080_llmd_2replicas")
    watch.see(
        ray(without(both, "ray_vllm", ReplicaId="jrlz27m3"), T - 7, source="ray/a:8080"),
        ray(without(both, "ray_vllm", ReplicaId="cc2jsx16"), T - 3, source="ray/b:8080"),
        serve("llmd_2replicas", T + 9),
    )

    assert watch.look(LLMD, T).kv_cache_usage == Known(0.0, 7.0)
    assert watch.look(LLMD, T - 5).kv_cache_usage == Known(0.0, 2.0)


def test_nothing_is_idle_while_one_source_alone_says_so(watch):
    for at in (0, 15, 30):
        watch.see(haproxy("llm_after12", T + at), serve("llm_after12", T + at))

    seen = watch.look(LLM, T + 30)

    assert seen.reading(ONGOING) == Known(0.0, 0.0)
    assert not seen.idle


def test_nothing_is_idle_before_a_whole_window_was_watched(watch):
    for at in (0, 10, 20):
        watch.see(ray("llm_after12", T + at), haproxy("llm_after12", T + at), serve("llm_after12", T + at))

    assert not watch.look(LLM, T + 20).idle


def test_one_request_in_the_window_means_not_idle(watch):
    calm = page("haproxy_9101_llm_after12")
    for at in (0, 10, 20, 30):
        front = calm if at < 20 else edited(calm, ARRIVED, add=1, proxy="http-llm")
        watch.see(ray("llm_after12", T + at), haproxy(front, T + at), serve("llm_after12", T + at))

    assert not watch.look(LLM, T + 30).idle


def test_a_stale_front_door_is_not_read_as_silence(watch):
    watch.see(haproxy("llm_after12", T))
    for at in (10, 20, 40):
        watch.see(failed(SourceKind.HAPROXY, HAPROXY, T + at), serve("llm_after12", T + at))

    assert isinstance(watch.look(LLM, T + 40).reading(ONGOING), Unknown)


def test_counters_that_left_the_page_give_no_rate_once_they_are_old():
    watch = Watch(Window(window_s=30, max_age_s=10))
    for at in (0, 8, 16):
        watch.see(ray(edited(LOADED, TOKENS, add=10 * at + 1), T + at), serve("llmd_loaded", T + at))
    for at in (22, 28):
        watch.see(ray(without(LOADED, "ray_vllm"), T + at), serve("llmd_loaded", T + at))

    assert watch.look(LLMD, T + 22).reading(Signal.DECODE_TOKENS) == Known(pytest.approx(10.0, rel=0.01), 6.0)
    assert isinstance(watch.look(LLMD, T + 28).reading(Signal.DECODE_TOKENS), Unknown)
