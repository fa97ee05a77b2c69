"""Faults of the real stack, one after the other on one cluster. Only the engines are simulated.

Where the load falls meanwhile, a controller without its guards lives through the same beside the real one.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from controller.domain.plan import Action
from controller.local.calls import RequestFailedError
from controller.local.stack import missing_packages
from tests.chaos.conftest import Report
from tests.chaos.invariants import BrokenError
from tests.chaos.live import (
    SERVER,
    Controller,
    Live,
    blindness,
    chat,
    deployed,
    ended_at,
    intact,
    listens_on,
    process,
    said,
    titled,
)
from tests.stack.conftest import free_ports
from tests.stack.relay import Relay
from tests.stack.serving_cluster import CLOCK, serving_cluster

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing_packages()), reason="the local extra is not installed: run make setup"),
]
# Nothing here is about how long a leaving replica stays reachable.
_DRAINING = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3"}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    relay = Relay()
    with serving_cluster(tmp_path_factory.mktemp("cluster"), free_ports(), lean=True, **_DRAINING) as cluster:
        relay.port = cluster.ports.dashboard
        cluster.put([deployed()])
        folder = tmp_path_factory.mktemp("controllers")
        guarded, unguarded = (
            Controller(cluster, folder / name, serve_url=relay.url, guarded=name == "guarded")
            for name in ("guarded", "unguarded")
        )
        try:
            world = Live(cluster, relay, guarded, unguarded)
            yield world
        finally:
            world.leave()
            guarded.stop()
            unguarded.stop()
    relay.close()


@contextmanager
def stopped(victim: psutil.Process) -> Iterator[None]:
    """Let it be there and do nothing."""
    victim.suspend()
    try:
        yield
    finally:
        victim.resume()


def would_be_lowered(live: Live, since: float) -> None:
    """Wait until the controller without its guards would lower the target."""

    def lowers() -> bool:
        return any(chat(one).decision.action is Action.SCALE_DOWN for one in live.unguarded.records(since))

    live.cluster.wait(lowers, 30, "the controller without guards lowers")
    with pytest.raises(BrokenError, match="lowered from 2"):
        intact(live.unguarded.records(since))


def followed(live: Live) -> None:
    """Wait until the fallen load is followed: it had fallen, and only the fault had kept the target."""
    live.cluster.wait(lambda: live.target() == 1, 20, "the fallen load is followed")


def test_rays_dashboard_is_stuck_refuses_fails_and_is_gone(live: Live, report: Report) -> None:
    live.busy()
    began = CLOCK.now()
    with live.relay.held():
        live.blind(began)
        live.leave()
        for fault, told in (
            (live.relay.answering(401), "wants a token"),
            (live.relay.answering(503), "HTTP 503"),
            (live.relay.paused(), "cannot be reached"),
        ):
            with fault:
                live.cluster.wait(lambda told=told: told in said(live.guarded.records(began)), 20, told)
        live.cluster.wait(lambda: "did not answer within" in said(live.guarded.records(began)), 20, "no answer")
    ended = CLOCK.now()

    intact(live.during(began, ended))
    recovery = live.recovered(ended)
    followed(live)
    report(
        "real stack: Ray's dashboard answers 401, then 503, is gone, then stuck, while the load falls",
        "nothing is lowered, each is told by its name, recovers within two ticks",
        f"held 2 replicas for {ended - began:.0f} s",
        f"{recovery:.1f} s",
    )


def test_the_metrics_agent_falls_silent(live: Live, report: Report) -> None:
    live.busy()
    agent = process(listens_on(live.cluster.ports.ray_metrics), live.cluster)
    began = CLOCK.now()
    with stopped(agent):
        live.blind(began)
        live.leave()
        would_be_lowered(live, began)
    ended = CLOCK.now()

    during = live.during(began, ended)
    intact(during)
    assert any("ray/" in spot for spot in blindness(during))
    recovery = live.recovered(ended)
    followed(live)
    report(
        "real stack: Ray's metrics agent is silent while the load falls",
        "nothing is lowered, though a controller without guards would; recovers within two ticks",
        f"held 2 replicas for {ended - began:.0f} s; says “{blindness(during)[-1]}”",
        f"{recovery:.1f} s",
    )


def test_haproxy_hangs_and_is_killed(live: Live, report: Report) -> None:
    live.busy()
    haproxy = process(listens_on(live.cluster.ports.openai), live.cluster)
    began = CLOCK.now()
    haproxy.suspend()
    live.blind(began)
    live.leave()
    # Ray may have done so itself: it misses the answers, too.
    with suppress(psutil.NoSuchProcess):
        haproxy.kill()
    live.cluster.wait(lambda: _answers(f"http://127.0.0.1:{live.cluster.ports.haproxy_metrics}/metrics"), 30, "HAProxy")
    live.cluster.wait(lambda: _answers(f"{live.cluster.url}/-/ready"), 20, "the replicas are known to it")
    ended = CLOCK.now()

    during = live.during(began, ended)
    intact(during)
    assert any("haproxy/" in spot for spot in blindness(during))
    recovery = live.recovered(ended)
    followed(live)
    report(
        "real stack: HAProxy hangs, then is killed, while the load falls",
        "nothing is lowered until it counts again; recovers within two ticks",
        f"back after {ended - began:.0f} s; 2 replicas throughout",
        f"{recovery:.1f} s",
    )


def test_a_replica_hangs(live: Live, report: Report) -> None:
    users = live.busy()
    began = CLOCK.now()
    _, victim = live.replica()
    with stopped(victim):
        live.cluster.wait(lambda: len(live.guarded.records(began)) >= 4, 20, "four ticks")
    ended = CLOCK.now()

    result = users.answered()
    intact(live.during(began, ended))
    recovery = live.recovered(ended)
    assert result.failed == 0, result.problems
    report(
        "real stack: a replica's engine makes no token, its actor is there",
        "nothing is lowered, limits hold, and its streams go on afterwards",
        f"{result.requests} requests, {result.failed} failed",
        f"{recovery:.1f} s",
    )


def test_a_replica_is_killed_with_streams_on_it(live: Live, report: Report) -> None:
    users = live.busy()
    lost, victim = live.replica()
    began = CLOCK.now()
    victim.kill()
    with_one: list[tuple[float, float]] = []

    def one_is_told_of() -> bool:
        asked = CLOCK.now()
        states = live.cluster.replicas("chat", SERVER)
        alone = states.get(lost) != "RUNNING" and list(states.values()).count("RUNNING") == 1
        if alone:
            with_one.append((asked, CLOCK.now()))
        return alone

    live.cluster.wait(one_is_told_of, 30, "Serve misses it")
    live.cluster.wait(lambda: not one_is_told_of() and live.cluster.ready("chat", SERVER) == 2, 60, "its successor")
    ended = CLOCK.now()

    intact(live.during(began, ended))
    recovery = live.recovered(ended)
    result = users.answered()
    # At most those on it, half of seven or one more; what had no answer yet went to the other replica.
    assert result.failed <= 5, result.problems
    assert set(result.problems) <= {"stream broken", "closed before an answer"}, result.problems
    # What Serve told until after a tick was over is what this tick saw, unless it got no answer.
    missed = [
        _ready(one)
        for one in live.during(with_one[0][1], ended)
        if ended_at(one) < with_one[-1][0] and not any(source.error for source in one.sources)
    ]
    assert missed
    assert set(missed) == {1}
    report(
        "real stack: a replica killed with streams on it",
        "nothing is lowered, its loss is recorded, only its own streams break",
        f"back after {ended - began:.0f} s; {result.failed} of {result.requests + result.failed} requests broke",
        f"{recovery:.1f} s",
    )


def test_serves_controller_hangs_and_is_killed(live: Live, report: Report) -> None:
    users = live.busy()
    began = CLOCK.now()
    controller = process(titled("ray::ServeController"), live.cluster)
    controller.suspend()
    live.blind(began)
    controller.kill()
    live.cluster.wait(lambda: _tells(live), 60, "its successor tells of the replicas")
    ended = CLOCK.now()

    during = live.during(began, ended)
    intact(during)
    assert any("serve/" in spot for spot in blindness(during))
    recovery = live.recovered(ended)
    result = users.answered()
    assert live.target() == 2
    assert result.failed == 0, result.problems
    report(
        "real stack: Serve's controller actor hangs, then is killed",
        "the target stays, streams go on, nothing is lowered; recovers within two ticks",
        f"back after {ended - began:.0f} s; {result.requests} requests, {result.failed} failed; "
        f"says “{blindness(during)[-1]}”",
        f"{recovery:.1f} s",
    )


def _ready(record: object) -> int | None:
    counts = chat(record).snapshot.replicas  # type: ignore[arg-type]
    return counts.ready if counts is not None else None


def _tells(live: Live) -> bool:
    try:
        return live.cluster.ready("chat", SERVER) == 2
    except (RequestFailedError, KeyError):
        return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
