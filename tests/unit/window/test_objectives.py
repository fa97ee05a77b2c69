"""Events of objectives: how many of a window's first tokens, tokens and requests broke their promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.identity import DeploymentId
from controller.domain.objective import Events, Objective, Thresholds
from controller.domain.scrape import Scrape, SourceKind
from controller.window.observe import observe
from tests.captured import HAPROXY, RAY, Watch, edited, failed, haproxy, page, ray, serve

LLMD = DeploymentId("llmd", "LLMServer:tiny")
T = 1_795_222_400.0
TTFT = "ray_vllm_time_to_first_token_seconds_bucket"
REQUESTS = "ray_serve_num_http_requests_total"
RESPONSES = "haproxy_backend_http_responses_total"
ROUTED = "http-llmd-via-ingress-request-router"
BOUNDS = ("2.5", "5.0", "7.5", "10.0", "20.0", "40.0", "80.0", "160.0", "640.0", "2560.0", "+Inf")
LOADED = page("ray_8080_llmd_loaded")
PROMISED = {LLMD: Thresholds(ttft_s=0.5, itl_s=0.05)}


def objectives(watch: Watch, now: float, promised=PROMISED):
    return observe(watch.window, [LLMD], now, promised=promised)[0].objectives


def test_late_first_tokens_are_counted_against_the_objective(watch):
    later = LOADED
    for bound in ("0.25", "0.5", "0.75", "1.0", *BOUNDS):  # 30 between 0.1 and 0.25 s
        later = edited(later, TTFT, add=30, le=bound, ReplicaId="wezrga03")
    for bound in ("0.75", "1.0", *BOUNDS):  # 60 between 0.5 and 0.75 s
        later = edited(later, TTFT, add=60, le=bound, ReplicaId="wezrga03")
    watch.see(ray(LOADED, T), serve("llmd_loaded", T), ray(later, T + 30), serve("llmd_loaded", T + 30))

    found = objectives(watch, T + 30)

    assert found[Objective.TTFT] == Events(per_s=3.0, bad_per_s=2.0)
    assert found[Objective.ITL] == Events(per_s=0.0, bad_per_s=0.0)


def test_an_objective_between_two_bounds_splits_the_bucket_evenly(watch):
    later = LOADED
    for bound in ("0.75", "1.0", *BOUNDS):
        later = edited(later, TTFT, add=60, le=bound, ReplicaId="wezrga03")
    watch.see(ray(LOADED, T), serve("llmd_loaded", T), ray(later, T + 30), serve("llmd_loaded", T + 30))

    found = objectives(watch, T + 30, {LLMD: Thresholds(ttft_s=0.6, itl_s=0.05)})

    assert found[Objective.TTFT] == Events(per_s=2.0, bad_per_s=pytest.approx(1.2))


def test_failed_requests_are_those_of_the_service_and_a_client_that_left_is_none(watch):
    later = edited(LOADED, REQUESTS, add=90, application="llmd", method="POST", status_code="200")
    later = edited(later, REQUESTS, add=30, application="llmd", method="GET", status_code="404")
    watch.see(ray(LOADED, T), serve("llmd_loaded", T), ray(later, T + 30), serve("llmd_loaded", T + 30))

    assert objectives(watch, T + 30)[Objective.SUCCESS] == Events(per_s=4.0, bad_per_s=0.0)


def test_failed_requests_that_only_serve_saw_count(watch):
    failing = tuple(
        replace(one, labels=tuple((name, "500" if name == "status_code" else value) for name, value in one.labels))
        if one.name == REQUESTS
        else one
        for one in LOADED
    )
    name = next(one for one in failing if one.name == REQUESTS and ("application", "llmd") in one.labels).labels
    later = edited(failing, REQUESTS, add=60, **dict(name))
    watch.see(ray(failing, T), serve("llmd_loaded", T), ray(later, T + 30), serve("llmd_loaded", T + 30))

    assert objectives(watch, T + 30)[Objective.SUCCESS] == Events(per_s=2.0, bad_per_s=2.0)


def test_of_two_systems_the_one_that_saw_more_failures_counts(watch):
    """HAProxy answers 503 by itself while no server is up; Serve sees nothing of that."""
    door = page("haproxy_9101_llmd_loaded")
    refusing = edited(door, RESPONSES, add=60, code="5xx", proxy=ROUTED)
    for at, shown in ((T, door), (T + 30, refusing)):
        watch.see(ray(LOADED, at), haproxy(shown, at), serve("llmd_loaded", at))

    assert objectives(watch, T + 30)[Objective.SUCCESS] == Events(per_s=2.0, bad_per_s=2.0)


@pytest.mark.parametrize(("ok", "known"), [(True, True), (False, False)])
def test_where_latencies_cannot_be_read_their_objectives_are_left_out(watch, ok, known):
    told = Scrape(source="latency/prometheus:9090", kind=SourceKind.LATENCY, at=T, ok=ok)
    watch.see(ray(LOADED, T), serve("llmd_loaded", T), told)

    found = objectives(watch, T)

    assert (Objective.TTFT in found, Objective.ITL in found) == (known, known)


def test_failures_of_an_unknown_number_of_requests_are_not_told(watch):
    """One status has been counted for the whole window; since when another has cannot be told, the page had gaps."""
    shown = next(one for one in LOADED if one.name == REQUESTS and ("application", "llmd") in one.labels)

    def counted(status, value):
        labels = tuple((name, status if name == "status_code" else of) for name, of in shown.labels)
        return replace(shown, labels=labels, value=value)

    gaps = replace(ray((counted("500", 1.0),), T), errors=("in part",))
    watch.see(gaps, serve("llmd_loaded", T))
    watch.see(ray((counted("500", 31.0), counted("200", 900.0)), T + 30), serve("llmd_loaded", T + 30))

    assert Objective.SUCCESS not in objectives(watch, T + 30)


def test_what_is_not_known_is_left_out_and_not_zero(watch):
    watch.see(ray(LOADED, T), haproxy("llmd_loaded", T), serve("llmd_loaded", T))
    watch.see(failed(SourceKind.RAY, RAY, T + 40), failed(SourceKind.HAPROXY, HAPROXY, T + 40))
    watch.see(serve("llmd_loaded", T + 40))

    assert objectives(watch, T + 40) == {}
    assert objectives(watch, T + 40, {}) == {}
