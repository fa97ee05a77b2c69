"""Serve's own account: what a replica that is new need not show, and an old one must."""

from __future__ import annotations

import pytest

from controller.catalog import scraped
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import DeploymentState, Replica, ReplicaState
from controller.window.blind_spots import replica_blind_spots
from controller.window.reach import Moment, Rate
from controller.window.replica_gauges import is_new, serve_view
from controller.window.replicas import KnownReplica
from controller.window.window import Window
from tests.records import CHAT

NOW = 100.0
RUNNING, STARTING = ReplicaState.RUNNING, ReplicaState.STARTING
GAUGE, COUNTER = scraped.SERVE_PROCESSING.name, scraped.SERVE_REQUESTS.name


def labels(replica: str) -> tuple[tuple[str, str], ...]:
    return (("WorkerId", f"w-{replica}"), ("application", "chat"), ("deployment", "d"), ("replica", replica))


def moment(*answers: tuple[float, tuple[Sample, ...]]) -> Moment:
    """A window of 30 s; answers older than 20 s are not believed."""
    window = Window(window_s=30.0, max_age_s=20.0)
    for at, samples in answers:
        window.record(Scrape(source="ray/a", kind=SourceKind.RAY, at=at, ok=True, samples=samples))
    return Moment(window, NOW)


def shown(replica: str, requests: float, *, in_flight: float = 3.0) -> tuple[Sample, ...]:
    return (Sample(GAUGE, labels(replica), in_flight), Sample(COUNTER, labels(replica), requests))


def deployment(**replicas: ReplicaState) -> DeploymentState:
    return DeploymentState(
        id=CHAT,
        status="HEALTHY",
        message="",
        target_replicas=len(replicas),
        config_replicas=1,
        autoscaling_configured=False,
        max_ongoing_requests=None,
        replicas=tuple(Replica(replica_id=name, state=state) for name, state in replicas.items()),
    )


def born(name: str, at: float | None) -> KnownReplica:
    return KnownReplica(name, was_starting=True, listed_at=NOW, ready_at=at, born_at=at)


def known(**births: float | None) -> dict[str, KnownReplica]:
    return {name: born(name, at) for name, at in births.items()}


BOTH = deployment(old=RUNNING, new=RUNNING)
OLD_ALONE = moment((70.0, shown("old", 0.0)), (100.0, shown("old", 60.0)))


@pytest.mark.parametrize(
    ("replica", "new"),
    [
        pytest.param(born("r", 80.0), True, id="as-young-as-an-answer-may-be-old"),
        pytest.param(born("r", 79.9), False, id="older"),
        pytest.param(born("r", None), False, id="not-known-since-when"),
        pytest.param(None, False, id="not-known"),
    ],
)
def test_who_is_new(replica: KnownReplica | None, new: bool) -> None:
    assert is_new(moment(), replica) is new


def test_a_new_replica_need_not_show_anything() -> None:
    births = known(old=10.0, new=90.0)

    view = serve_view(OLD_ALONE, BOTH, births)

    assert (view.name, view.in_flight, view.at_least) == ("Serve", Known(3.0, 0.0), 3.0)
    assert view.arrivals == Rate(2.0, 30.0, 0.0)
    assert replica_blind_spots(OLD_ALONE, BOTH, births, ()) == ()


def test_an_old_replica_that_shows_nothing_hides_what_it_does() -> None:
    births = known(old=10.0, new=70.0)

    view = serve_view(OLD_ALONE, BOTH, births)

    assert (view.in_flight, view.arrivals) == (Unknown("replica new shows no gauge"),) * 2
    assert view.at_least == 3.0
    assert replica_blind_spots(OLD_ALONE, BOTH, births, ()) == (
        f"replica new of {CHAT} is RUNNING but no source shows it",
    )


def test_while_all_are_new_nothing_is_known_yet() -> None:
    view = serve_view(moment((95.0, ())), deployment(new=RUNNING), known(new=90.0))

    assert (view.in_flight, view.arrivals) == (Unknown("no replica shows metrics yet"),) * 2


def test_a_replica_that_does_not_run_is_not_asked_and_counts_what_it_shows() -> None:
    seen = moment((70.0, (*shown("old", 0.0), *shown("new", 0.0))), (100.0, (*shown("old", 60.0), *shown("new", 30.0))))

    starting = serve_view(OLD_ALONE, deployment(old=RUNNING, new=STARTING), known(old=10.0))
    draining = serve_view(seen, deployment(old=RUNNING, new=ReplicaState.STOPPING), known(old=10.0, new=20.0))

    assert starting.in_flight == Known(3.0, 0.0)
    assert draining.in_flight == Known(6.0, 0.0)
    assert draining.arrivals == Rate(3.0, 30.0, 0.0)
    assert replica_blind_spots(OLD_ALONE, deployment(old=RUNNING, new=STARTING), known(old=10.0), ()) == ()


def test_arrivals_of_a_replica_that_left_still_count() -> None:
    seen = moment(
        (70.0, (*shown("old", 0.0), *shown("gone", 0.0))), (100.0, (*shown("old", 60.0), *shown("gone", 30.0)))
    )

    assert serve_view(seen, deployment(old=RUNNING), known(old=10.0, gone=20.0)).arrivals == Rate(3.0, 30.0, 0.0)


def test_a_replica_born_in_the_window_counts_from_its_birth() -> None:
    seen = moment((90.0, shown("new", 20.0)), (100.0, shown("new", 40.0)))

    assert serve_view(seen, deployment(new=RUNNING), known(new=80.0)).arrivals == Rate(40.0 / 30.0, 30.0, 0.0)


def test_a_gauge_without_a_counter_shows_that_nobody_came() -> None:
    idle = (Sample(GAUGE, labels("old"), 0.0),)

    view = serve_view(moment((70.0, idle), (100.0, idle)), deployment(old=RUNNING), known(old=10.0))

    assert (view.in_flight, view.arrivals) == (Known(0.0, 0.0), Rate(0.0, 30.0, 0.0))


def test_an_engine_that_is_unseen_is_told_of_by_name() -> None:
    assert replica_blind_spots(OLD_ALONE, deployment(old=RUNNING), known(old=10.0), ["old"]) == (
        f"replica old of {CHAT} serves requests but shows no vLLM metrics",
    )
