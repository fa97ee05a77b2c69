"""Faults of the real stack, one after the other on one cluster. Only the engines are simulated.

Where the load falls meanwhile, a controller without its guards lives through the same beside the real one.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psutil
import pytest

from controller.catalog.scraped import HAPROXY_SESSIONS
from controller.domain.plan import Action
from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.local.calls import RequestFailedError
from controller.local.stack import missing_packages
from controller.window.front_door import backends
from tests.chaos.invariants import BrokenError
from tests.chaos.live import RULES, SERVER, Controller, Live, deployed, listens_on, process, processes, titled
from tests.chaos.told import (
    MOST,
    all_new,
    began_at,
    blindness,
    chat,
    intact,
    ordered_once,
    ready_for_target,
    replayed,
    said,
    sees,
)
from tests.reliability import Report
from tests.stack.conftest import free_ports
from tests.stack.relay import Relay
from tests.stack.serving_cluster import CLOCK, serving_cluster
from tests.stack.users import Users

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(missing_packages()), reason="the local extra is not installed: run make setup"),
]
_CLUSTER = {
    # Nothing here is about how long a leaving replica stays reachable.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # An HAProxy that hangs is to hang for some ticks before Ray replaces it.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "6",
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    relay = Relay()
    with serving_cluster(tmp_path_factory.mktemp("cluster"), free_ports(), lean=True, **_CLUSTER) as cluster:
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


def seen_again(live: Live, shows: Callable[[], bool], what: str) -> float:
    """Wait until it ``shows`` what was hidden; returns when it last did not: nobody can have seen it before."""
    hidden_at = CLOCK.now()

    def so() -> bool:
        nonlocal hidden_at
        asked = CLOCK.now()
        if shows():
            return True
        hidden_at = asked
        return False

    live.cluster.wait(so, 60, what)
    return hidden_at


def followed(live: Live) -> None:
    """Wait until the fallen load is followed: it had fallen, and only the fault had kept the target."""
    live.cluster.wait(lambda: live.target() == 1, 20, "the fallen load is followed")


def test_rays_dashboard_is_stuck_refuses_fails_and_is_gone(live: Live, report: Report) -> None:
    live.busy()
    began = CLOCK.now()
    with live.relay.held():
        # The load falls in the dark only: what was told before may be followed.
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
        would_be_lowered(live, began)
        ended = CLOCK.now()

    intact(live.during(began, ended))
    recovery = live.recovered(ended)
    followed(live)
    report(
        "real stack: Ray's dashboard answers 401, then 503, is gone, then stuck, while the load falls",
        "nothing is lowered, though a controller without guards would; each is told by its name; "
        "recovers within two ticks",
        f"held 2 replicas for {ended - began:.0f} s",
        f"{recovery:.1f} s",
    )


def test_the_metrics_agent_falls_silent(live: Live, report: Report) -> None:
    live.busy()
    agent = process(listens_on(live.cluster.ports.ray_metrics), live.cluster)
    began = CLOCK.now()
    with stopped(agent):
        live.leave()
        live.blind(began)
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
    port = live.cluster.ports.haproxy_metrics
    metrics = f"http://127.0.0.1:{port}/metrics"
    haproxy.suspend()
    live.leave()
    live.blind(began)
    would_be_lowered(live, began)
    # Ray kills it, too, once it has missed three answers.
    assert not _page(metrics), "it was back before the controllers had shown what they do without it"
    with suppress(psutil.NoSuchProcess):
        haproxy.kill()
    dark_until = seen_again(live, lambda: _counts(metrics), "HAProxy counts what the replicas are sent")
    # Ray starts it without an application, and then once more with it: the first may be on its way out.
    live.cluster.wait(lambda: len(processes(listens_on(port), live.cluster)) == 1, 20, "one HAProxy")
    ended = CLOCK.now()

    during = live.during(began, dark_until)
    intact(during)
    assert any("haproxy/" in spot for spot in blindness(during))
    recovery = live.recovered(ended)
    followed(live)
    report(
        "real stack: HAProxy hangs, then is killed, while the load falls",
        "nothing is lowered until it counts again, though a controller without guards would; recovers within two ticks",
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
    during = live.during(began, ended)
    intact(during)
    intact(replayed(during, RULES, lambda seen: seen))
    with pytest.raises(BrokenError, match="lowered from 2"):
        intact(replayed(during, RULES, _only_what_moves))
    recovery = live.recovered(ended)
    assert result.failed == 0, result.problems
    report(
        "real stack: a replica's engine makes no token, its actor is there",
        "nothing is lowered, though counting only requests that move would; limits hold, its streams go on afterwards",
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

    during = live.during(began, ended)
    intact(during)
    ordered_once(during)
    ordered_once(replayed(during, RULES, lambda seen: seen))
    with pytest.raises(BrokenError, match="ordered from 1 to 2"):
        ordered_once(replayed(during, RULES, ready_for_target))
    recovery = live.recovered(ended)
    result = users.answered()
    # At most those on it, half of seven or one more; what had no answer yet went to the other replica.
    assert result.failed <= 5, result.problems
    assert set(result.problems) <= {"stream broken", "closed before an answer"}, result.problems
    # What Serve told before a tick began, and still after it, is what this tick saw, unless it got no answer.
    missed = [
        _ready(one)
        for one in live.during(with_one[0][1], with_one[-1][0])
        if began_at(one) > with_one[0][1] and all_new(one)
    ]
    assert missed
    assert set(missed) == {1}
    report(
        "real stack: a replica killed with streams on it",
        "nothing is lowered, nothing ordered twice, though taking the ready ones for the target would; "
        "its loss is recorded, only its own streams break",
        f"back after {ended - began:.0f} s; {result.failed} of {result.requests + result.failed} requests broke",
        f"{recovery:.1f} s",
    )


def test_serves_controller_hangs_and_is_killed(live: Live, report: Report) -> None:
    live.busy()
    one_stays = Users(live.cluster.url, 1)
    began = CLOCK.now()
    controller = process(titled("ray::ServeController"), live.cluster)
    controller.suspend()
    live.leave()
    live.blind(began)
    would_be_lowered(live, began)
    controller.kill()
    dark_until = seen_again(live, lambda: _tells(live), "its successor tells of the replicas")
    ended = CLOCK.now()

    during = live.during(began, dark_until)
    intact(during)
    assert any("serve/" in spot for spot in blindness(during))
    recovery = live.recovered(ended)
    assert next(chat(one).decision.current for one in live.guarded.records(dark_until) if sees(one)) == MOST
    followed(live)
    result = one_stays.answered()
    assert result.failed == 0, result.problems
    assert result.requests > 0
    report(
        "real stack: Serve's controller actor hangs while the load falls, then is killed",
        "nothing is lowered, though a controller without guards would; the target stays, streams go on; "
        "recovers within two ticks",
        f"back after {ended - began:.0f} s; {result.requests} requests meanwhile, {result.failed} failed; "
        f"says “{blindness(during)[-1]}”",
        f"{recovery:.1f} s",
    )


def _only_what_moves(seen: Snapshot) -> Snapshot:
    """As if of seven requests only those counted that the other replica answers."""
    return replace(seen, demand={**seen.demand, Signal.ONGOING_REQUESTS: Known(3.0)})


def _ready(record: object) -> int | None:
    counts = chat(record).snapshot.replicas  # type: ignore[arg-type]
    return counts.ready if counts is not None else None


def _tells(live: Live) -> bool:
    try:
        # The fallen load may be followed as soon as it is seen.
        return live.cluster.ready("chat", SERVER) > 0
    except (RequestFailedError, KeyError):
        return False


def _counts(metrics: str) -> bool:
    return f'{HAPROXY_SESSIONS.name}{{proxy="{backends("chat")[0]}"}}' in _page(metrics)


def _page(url: str) -> str:
    """Return what is there; nothing where it does not answer, or not with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
