"""What a snapshot tells beside demand: replicas, failures, latency, starts, and what is not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.engine import ServiceOutcomes
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Distribution, Scrape, SourceKind
from controller.domain.serve import ReplicaState, ServeState
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency, ReplicaCounts, Snapshot
from controller.window.front_door import backends
from controller.window.latency import service_outcomes
from controller.window.observe import observe
from controller.window.reach import Moment
from controller.window.window import Window
from tests.captured import (
    HAPROXY,
    RAY,
    SERVE,
    Watch,
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
T_SCALING = 1_795_223_200.0
STARTED_AT = 1_795_223_190.4743657
FAILURES = "ray_serve_num_http_error_requests_total"
SERVED = "ray_serve_deployment_request_counter_total"


@pytest.fixture
def watch() -> Watch:
    return Watch(Window(window_s=30, max_age_s=30))


def all_of(name: str, at: float):
    return ray(name, at), haproxy(name, at), serve(name, at)


# Serve's state


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


# Failures


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


# Latency and starts


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


# Blind spots


def test_what_is_fresh_and_whole_has_no_blind_spot(watch):
    watch.see(*all_of("llmd_loaded", T))

    seen = watch.look(LLMD, T + 30)

    assert seen.blind_spots == ()
    assert [(source.source, source.age_s, source.stale) for source in seen.sources] == [
        (HAPROXY, 30.0, False),
        (RAY, 30.0, False),
        (SERVE, 30.0, False),
    ]


def test_one_missed_scrape_is_no_blind_spot(watch):
    watch.see(*all_of("llmd_loaded", T))
    watch.see(failed(SourceKind.RAY, RAY, T + 10), failed(SourceKind.HAPROXY, HAPROXY, T + 10))

    assert watch.look(LLMD, T + 10).blind_spots == ()


@pytest.mark.parametrize(("kind", "source"), [(SourceKind.RAY, RAY), (SourceKind.HAPROXY, HAPROXY)])
def test_a_source_that_keeps_failing_becomes_a_blind_spot(watch, kind, source):
    watch.see(*all_of("llmd_loaded", T))
    watch.see(*(scrape for scrape in all_of("llmd_loaded", T + 31) if scrape.kind is not kind))
    watch.see(failed(kind, source, T + 31))

    (spot,) = watch.look(LLMD, T + 31).blind_spots

    assert spot == f"{source} last answered 31 s ago (limit 30 s): connection refused"


def test_a_haproxy_that_never_answered_is_a_blind_spot(watch):
    watch.see(ray("llmd_loaded", T), serve("llmd_loaded", T), failed(SourceKind.HAPROXY, HAPROXY, T))

    (spot,) = watch.look(LLMD, T).blind_spots

    assert spot == f"{HAPROXY} never answered (limit 30 s): connection refused"


def test_a_haproxy_that_is_not_there_is_not_missed(watch):
    watch.see(ray("llmd_loaded", T), serve("llmd_loaded", T))

    assert watch.look(LLMD, T).blind_spots == ()


def test_nothing_read_at_all_is_a_blind_spot():
    seen = Watch(Window(window_s=30, max_age_s=30)).look(LLMD, T)

    assert set(seen.blind_spots) == {"no Ray metrics agent was ever read", "no Serve REST state was ever read"}


def test_a_node_that_left_is_not_missed(watch):
    gone = "ray/10.0.0.9:8080"
    watch.see(*all_of("llmd_loaded", T), ray("light_idle", T, source=gone))
    for at in (10, 20, 31, 40):
        watch.see(*all_of("llmd_loaded", T + at))

    seen = watch.look(LLMD, T + 40)

    assert seen.blind_spots == ()
    assert gone not in [source.source for source in seen.sources]


def test_a_node_that_lags_but_is_reported_is_missed(watch):
    """A Prometheus that scrapes seldom hands out the same old scrape again and again."""
    lagging = "ray/10.0.0.9:8080"
    for at in (0, 10, 20, 31, 40, 50, 60, 70):
        watch.see(*all_of("llmd_loaded", T + at), ray("light_idle", T, source=lagging))

    (spot,) = watch.look(LLMD, T + 70).blind_spots

    assert spot.startswith(f"{lagging} last answered 70 s ago")


def test_a_node_that_just_joined_may_need_a_moment_to_answer(watch):
    new = "ray/10.0.0.9:8080"
    for at in (0, 10, 20, 30):
        watch.see(*all_of("llmd_loaded", T + at), failed(SourceKind.RAY, new, T + at))
    assert watch.look(LLMD, T + 30).blind_spots == ()

    watch.see(*all_of("llmd_loaded", T + 40), failed(SourceKind.RAY, new, T + 40))

    assert watch.look(LLMD, T + 40).blind_spots == (f"{new} never answered (limit 30 s): connection refused",)


def test_a_new_replica_without_any_request_is_no_blind_spot(watch):
    alone = without(page("ray_8080_llmd_2replicas"), "ray_vllm", ReplicaId="jrlz27m3")
    alone = without(alone, SERVED, replica="jrlz27m3")
    watch.see(*all_of("llmd_scaleup", T_SCALING))
    for at in range(10, 100, 10):
        watch.see(
            ray(alone, T_SCALING + at),
            haproxy("llmd_2replicas", T_SCALING + at),
            serve("llmd_2replicas", T_SCALING + at),
        )

    seen = watch.look(LLMD, T_SCALING + 90)

    assert seen.blind_spots == ()
    assert seen.idle
    assert seen.reading(Signal.DECODE_TOKENS) == Known(0.0, 0.0)
    assert seen.kv_cache_usage == Known(0.0, 0.0)


def test_health_checks_of_a_replica_need_no_engine(watch):
    checked = without(page("ray_8080_llmd_2replicas"), "ray_vllm", ReplicaId="cc2jsx16")
    checked = without(checked, SERVED, replica="cc2jsx16", route="/d/v1/chat/completions")
    for at in (0, 30, 60):
        grown = edited(checked, SERVED, add=at + 1, replica="cc2jsx16", route="/d/v1/models")
        watch.see(ray(grown, T_SCALING + at), serve("llmd_2replicas", T_SCALING + at))

    assert watch.look(LLMD, T_SCALING + 60).blind_spots == ()


def test_a_replica_that_generates_without_showing_its_engine_is_a_blind_spot(watch):
    hidden = without(page("ray_8080_llmd_2replicas"), "ray_vllm", ReplicaId="cc2jsx16")
    for at in (0, 30, 60):
        grown = edited(hidden, SERVED, add=at + 1, replica="cc2jsx16")
        watch.see(ray(grown, T_SCALING + at), serve("llmd_2replicas", T_SCALING + at))

    seen = watch.look(LLMD, T_SCALING + 60)

    assert seen.blind_spots == ("replica cc2jsx16 of llmd/LLMServer:tiny serves requests but shows no vLLM metrics",)
    assert isinstance(seen.reading(Signal.DECODE_TOKENS), Unknown)


def test_a_replica_on_a_node_that_nobody_scrapes_is_a_blind_spot(watch):
    here = without(page("ray_8080_llmd_2replicas"), "ray_vllm", ReplicaId="cc2jsx16")
    here = without(here, "ray_serve", replica="cc2jsx16")
    watch.see(ray(here, T_SCALING), serve("llmd_2replicas", T_SCALING))

    (spot,) = watch.look(LLMD, T_SCALING).blind_spots

    assert spot == "replica cc2jsx16 of llmd/LLMServer:tiny is RUNNING but no source shows it"


def test_a_front_door_without_the_applications_backend_is_a_blind_spot(watch):
    watch.see(*all_of("llmd_loaded", T), haproxy("llm_loaded", T + 1))
    for at in (40, 80, 120):
        watch.see(ray("llmd_loaded", T + at), haproxy("llm_loaded", T + at), serve("llmd_loaded", T + at))

    assert watch.look(LLMD, T + 120).blind_spots == ("no HAProxy counts the sessions of application llmd",)


def test_a_front_door_that_deployments_share_is_nobodys_blind_spot(watch):
    for at in (0, 40, 80, 120):
        watch.see(ray("llmd_loaded", T + at), haproxy("llm_loaded", T + at), serve("llmd_loaded", T + at))

    found = observe(watch.window, [LLMD, DeploymentId("llmd", "LLMServer:other")], T + 120)

    assert found[0].blind_spots == ()


@pytest.mark.parametrize(
    ("application", "backend"),
    [("chat", "http-chat"), ("team#a/chat v2", "http-team-a.chat_v2"), ("Übung", "http-_bung")],
)
def test_backends_are_named_as_serve_names_them(application, backend):
    assert backends(application) == (backend, f"{backend}-via-ingress-request-router")


# The clock, and what it does to the window


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
