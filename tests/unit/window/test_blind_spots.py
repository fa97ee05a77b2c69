"""What should be seen and is not."""

from __future__ import annotations

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import SourceKind
from controller.domain.signals import Signal
from controller.window.front_door import backends
from controller.window.observe import observe
from controller.window.window import Window
from tests.captured import (
    HAPROXY,
    RAY,
    SERVE,
    Watch,
    all_of,
    edited,
    failed,
    haproxy,
    page,
    ray,
    serve,
    without,
)

LLMD = DeploymentId("llmd", "LLMServer:tiny")
T = 1_795_222_400.0
T_SCALING = 1_795_223_200.0
SERVED = "ray_serve_deployment_request_counter_total"


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
