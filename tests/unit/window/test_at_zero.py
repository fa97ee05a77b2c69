"""What is seen of a deployment without replicas, and which replicas Serve would stop first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.catalog import scraped
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Sample, SourceKind
from controller.domain.serve import Replica, ReplicaState, ServeState
from controller.domain.signals import Signal
from tests.captured import HAPROXY, RAY, Watch, edited, failed, haproxy, page, ray, serve, serve_state, without

LLMD = DeploymentId("llmd", "LLMServer:tiny")
T = 1_795_223_200.0
SESSIONS, REQUESTS = scraped.HAPROXY_SESSIONS.name, scraped.HAPROXY_REQUESTS.name
BACKEND = {"proxy": "http-llmd-via-ingress-request-router"}


def at_zero() -> ServeState:
    """The recorded state of one deployment, scaled to nothing."""
    state = serve_state("llmd_scaledown")
    applications = tuple(
        replace(
            application,
            deployments=tuple(
                replace(one, target_replicas=0, replicas=()) if one.id == LLMD else one
                for one in application.deployments
            ),
        )
        for application in state.applications
    )
    return replace(state, applications=applications)


def quiet_door() -> tuple[Sample, ...]:
    return page("haproxy_9101_llmd_scaledown")


def quiet_ray() -> tuple[Sample, ...]:
    return without(page("ray_8080_llmd_scaledown"), "ray_vllm", "ray_serve_replica", "ray_serve_deployment_request")


def queue(at_handles: float) -> Sample:
    names = {"application": "llmd", "deployment": "LLMServer:tiny", "handle": "h", "actor_id": "a", "WorkerId": "w"}
    return Sample(scraped.SERVE_QUEUED_HANDLE.name, tuple(sorted(names.items())), at_handles)


def look_at_zero(watch: Watch, *, door: tuple[Sample, ...] | None = None, ray_too: tuple[Sample, ...] = ()):
    """Half a minute at zero; ``door`` and ``ray_too`` are what shows at its end."""
    for second in (0, 10, 20, 30):
        is_end = second == 30
        watch.see(
            serve(at_zero(), T + second),
            ray((*quiet_ray(), *(ray_too if is_end else ())), T + second),
            haproxy(door if door and is_end else quiet_door(), T + second),
        )
    return watch.look(LLMD, T + 30)


def test_silence_at_zero_is_known_from_two_sources(watch):
    seen = look_at_zero(watch)

    assert seen.at_the_door == Known(0.0)
    assert seen.idle
    assert seen.reading(Signal.ONGOING_REQUESTS) == Known(0.0)
    assert seen.queued_requests == Known(0.0)
    assert seen.reading(Signal.DECODE_TOKENS) == Known(0.0), "no engine tells, and two sources know of no traffic"
    assert seen.blind_spots == ()


def test_a_request_held_at_the_front_door_is_a_knock(watch):
    seen = look_at_zero(watch, door=edited(quiet_door(), SESSIONS, to=1.0, **BACKEND))

    assert seen.at_the_door == Known(1.0)
    assert not seen.idle


@pytest.mark.parametrize("name", [REQUESTS, scraped.HAPROXY_DENIED.name, scraped.HAPROXY_CONNECTION_ERRORS.name])
def test_requests_that_came_or_failed_meanwhile_are_a_knock(watch, name):
    seen = look_at_zero(watch, door=edited(quiet_door(), name, add=1.0, **BACKEND))

    assert seen.at_the_door == Known(1.0)


def test_a_request_queued_at_a_handle_is_a_knock_and_no_silence(watch):
    seen = look_at_zero(watch, ray_too=(queue(3.0),))

    assert seen.at_the_door == Known(3.0)
    assert not seen.idle


def test_an_empty_handle_queue_still_shows_the_door_while_haproxy_does_not_answer(watch):
    watch.see(serve(at_zero(), T), ray((*quiet_ray(), queue(0.0)), T), failed(SourceKind.HAPROXY, HAPROXY, T))

    assert watch.look(LLMD, T).at_the_door == Known(0.0)


def test_the_door_is_unknown_where_neither_place_can_be_seen(watch):
    no_handle = without(quiet_ray(), scraped.SERVE_QUEUED_HANDLE.name)
    watch.see(serve(at_zero(), T), ray(no_handle, T), failed(SourceKind.HAPROXY, HAPROXY, T))

    seen = watch.look(LLMD, T)

    assert isinstance(seen.at_the_door, Unknown)
    assert not seen.idle


def test_http_requests_that_were_counted_are_no_silence(watch):
    count = scraped.SERVE_HTTP_REQUESTS.name
    watched = page("ray_8080_llmd_scaledown")
    counted = tuple(one for one in watched if one.name == count and ("application", "llmd") in one.labels)
    assert counted

    for second in (0, 30):
        grown = tuple(replace(one, value=one.value + second) for one in counted)
        watch.see(
            serve(at_zero(), T + second),
            ray((*without(quiet_ray(), count), *grown), T + second),
            haproxy(quiet_door(), T + second),
        )
    seen = watch.look(LLMD, T + 30)

    assert seen.reading(Signal.REQUESTS) == Known(pytest.approx(len(counted)), 0.0)
    assert not seen.idle


def test_without_an_agent_nobody_knows_what_waits_at_handles(watch):
    for second in (0, 30):
        watch.see(serve(at_zero(), T + second), haproxy(quiet_door(), T + second))

    seen = watch.look(LLMD, T + 30)

    assert seen.reading(Signal.ONGOING_REQUESTS) == Known(0.0, 0.0)
    assert not seen.idle


def test_silence_is_not_believed_while_an_agent_is_stale(watch):
    look_at_zero(watch)
    watch.see(serve(at_zero(), T + 62), haproxy(quiet_door(), T + 62), failed(SourceKind.RAY, RAY, T + 62))

    assert not watch.look(LLMD, T + 62).idle


# Who would stop first


def fleet(*replicas: tuple[str, str, ReplicaState, float], head: str | None = None) -> ServeState:
    state = serve_state("llmd_2replicas")
    listed = tuple(
        Replica(replica_id=name, node_id=node, state=kind, started_at=started) for name, node, kind, started in replicas
    )
    (application,) = state.applications
    (server,) = [one for one in application.deployments if one.id == LLMD]
    only = replace(application, deployments=(replace(server, replicas=listed),))
    return ServeState(applications=(only,), head_node_id=head)


def gauges(**running: float) -> tuple[Sample, ...]:
    return tuple(
        Sample(
            scraped.SERVE_PROCESSING.name,
            (("WorkerId", name), ("application", "llmd"), ("deployment", "LLMServer:tiny"), ("replica", name)),
            value,
        )
        for name, value in running.items()
    )


RUNNING, STARTING, STOPPING = ReplicaState.RUNNING, ReplicaState.STARTING, ReplicaState.STOPPING


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(fleet(("a", "n1", RUNNING, 1), ("b", "n1", RUNNING, 2)), (2.0, 1.0), id="newest-first"),
        pytest.param(
            fleet(("a", "n1", RUNNING, 1), ("b", "n1", RUNNING, 3), ("c", "n2", RUNNING, 2)),
            (3.0, 2.0, 1.0),
            id="fewest-on-a-node-first",
        ),
        pytest.param(
            fleet(("a", "n1", RUNNING, 1), ("b", "n2", RUNNING, 2)),
            (1.0, 2.0),
            id="node-by-node-where-all-have-as-many",
        ),
        pytest.param(
            fleet(("a", "n1", RUNNING, 1), ("b", "n1", RUNNING, 2), ("c", "n2", RUNNING, 3), head="n2"),
            (2.0, 1.0, 3.0),
            id="head-node-last",
        ),
        pytest.param(
            fleet(("a", "n1", RUNNING, 1), ("b", "n1", RUNNING, 2), ("c", "n1", STARTING, 0)),
            (0.0, 2.0, 1.0),
            id="not-yet-running-first",
        ),
        pytest.param(
            fleet(("a", "n1", RUNNING, 1), ("b", "n1", STOPPING, 2)), (1.0,), id="those-that-stop-are-not-counted"
        ),
        pytest.param(fleet(("a", "n1", RUNNING, 1), ("x", "n1", RUNNING, 9)), (None, 1.0), id="unknown"),
    ],
)
def test_streams_are_told_in_the_order_in_which_serve_stops_replicas(watch, state, expected):
    watch.see(serve(state, T), ray(gauges(a=1.0, b=2.0, c=3.0), T))

    assert watch.look(LLMD, T).stop_streams == expected


def test_the_head_node_is_read_from_serves_answer():
    assert serve_state("llmd_loaded").head_node_id == "5a5b3493a8185cd9297d699bb5c5a74569c82475f6b1bd2464d5e816"
