"""HAProxy's account of an application, and when it is none."""

from __future__ import annotations

import pytest

from controller.catalog import scraped
from controller.domain.reading import Known, Unknown
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ApplicationState
from controller.window.blind_spots import front_door_blind_spots
from controller.window.front_door import counts_sessions, front_door, responses
from controller.window.reach import Moment, Rate
from controller.window.window import Window

NOW = 100.0
PLAIN, ROUTED = (("proxy", "http-app"),), (("proxy", "http-app-via-ingress-request-router"),)
SESSIONS, QUEUE, REQUESTS = scraped.HAPROXY_SESSIONS.name, scraped.HAPROXY_QUEUE.name, scraped.HAPROXY_REQUESTS.name
RESPONSES, DENIED = scraped.HAPROXY_RESPONSES.name, scraped.HAPROXY_DENIED.name
UNCONNECTED = scraped.HAPROXY_CONNECTION_ERRORS.name


def coded(code: str) -> tuple[tuple[str, str], ...]:
    return (("code", code), *PLAIN)


def shown(grown: float = 0.0, *, queued: float = 0.0) -> tuple[Sample, ...]:
    """Three requests in flight; 2, 0.5, 0.2 and 0.1 a second came, failed, were denied or found nobody."""
    return (
        Sample(SESSIONS, PLAIN, 1.0),
        Sample(SESSIONS, ROUTED, 2.0),
        Sample(QUEUE, PLAIN, queued),
        Sample(REQUESTS, PLAIN, 10.0 + 2.0 * grown),
        Sample(RESPONSES, coded("2xx"), 5.0 + 1.5 * grown),
        Sample(RESPONSES, coded("5xx"), 5.0 + 0.5 * grown),
        Sample(DENIED, PLAIN, 1.0 + 0.2 * grown),
        Sample(UNCONNECTED, PLAIN, 1.0 + 0.1 * grown),
    )


def scrape(
    at: float, samples: tuple[Sample, ...], *, source: str = "haproxy/a", errors: tuple[str, ...] = ()
) -> Scrape:
    return Scrape(source=source, kind=SourceKind.HAPROXY, at=at, ok=True, samples=samples, errors=errors)


def moment(*scrapes: Scrape, now: float = NOW) -> Moment:
    window = Window(window_s=30.0, max_age_s=20.0)
    for one in scrapes:
        window.record(one)
    return Moment(window, now)


WATCHED = (scrape(68.0, shown()), scrape(98.0, shown(30.0)))


def test_a_whole_answer_tells_all() -> None:
    door = front_door(moment(*WATCHED), "app", sole=True)

    assert (door.view.name, door.view.in_flight, door.view.at_least) == ("HAProxy", Known(3.0, 2.0), 3.0)
    assert door.view.arrivals == Rate(pytest.approx(2.0), 30.0, 2.0)
    assert door.failures == Rate(pytest.approx(0.7), 30.0, 2.0)
    assert door.unconnected == Rate(pytest.approx(0.1), 30.0, 2.0)
    assert door.held == Known(3.0, 2.0)
    assert responses(moment(*WATCHED), "app") == (
        Rate(pytest.approx(2.0), 30.0, 2.0),
        Rate(pytest.approx(0.5), 30.0, 2.0),
    )
    assert counts_sessions(moment(*WATCHED), "app")


def test_what_waits_in_front_of_the_servers_is_held() -> None:
    door = front_door(moment(scrape(98.0, shown(queued=7.0))), "app", sole=True)

    assert door.held == Known(7.0, 2.0)
    assert door.view.in_flight == Known(3.0, 2.0)


@pytest.mark.parametrize(
    ("seen", "sole", "reason", "at_least"),
    [
        pytest.param(
            moment(*WATCHED), False, "its application has several deployments in the policy", 0.0, id="shared"
        ),
        pytest.param(moment(), True, "not scraped", 0.0, id="no-haproxy"),
        pytest.param(moment(*WATCHED, now=118.5), True, "haproxy/a is stale", 0.0, id="stale"),
        pytest.param(
            moment(*WATCHED[:1], scrape(98.0, shown(30.0), errors=("cut",))),
            True,
            "haproxy/a answered in part",
            3.0,
            id="in-part",
        ),
        pytest.param(
            moment(*WATCHED, scrape(97.0, (), source="haproxy/b", errors=("cut",))),
            True,
            "haproxy/b answered in part",
            3.0,
            id="one-of-two-in-part",
        ),
        pytest.param(moment(scrape(98.0, ())), True, "no backend http-app", 0.0, id="no-backend"),
    ],
)
def test_what_is_not_whole_is_unknown_and_says_why(seen: Moment, sole: bool, reason: str, at_least: float) -> None:
    door = front_door(seen, "app", sole=sole)

    assert (door.view.in_flight, door.view.arrivals, door.held) == (Unknown(reason),) * 3
    assert door.view.at_least == at_least
    assert door.failures is None
    if sole and reason != "no backend http-app":
        assert responses(seen, "app") is None


def test_one_answer_is_no_rate() -> None:
    seen = moment(scrape(98.0, shown()))

    assert front_door(seen, "app", sole=True).view.arrivals == Unknown("not enough scrapes yet")
    assert responses(seen, "app") is None
    assert front_door(seen, "app", sole=True).failures is None


def running(**changes: object) -> ApplicationState:
    fields: dict[str, object] = {
        "name": "app",
        "status": "RUNNING",
        "route_prefix": "/",
        "external_scaler_enabled": True,
        "last_deployed_at": None,
        "deployments": (),
    }
    return ApplicationState(**{**fields, **changes})  # type: ignore[arg-type]


EMPTY = moment(scrape(98.0, ()))


@pytest.mark.parametrize(
    ("seen", "application", "spots"),
    [
        pytest.param(EMPTY, running(), ("no HAProxy counts the sessions of application app",), id="not-counted"),
        pytest.param(EMPTY, running(status="DEPLOYING"), (), id="not-yet-running"),
        pytest.param(EMPTY, running(route_prefix=None), (), id="nobody-can-ask-it"),
        pytest.param(EMPTY, None, (), id="not-there"),
        pytest.param(moment(), running(), (), id="no-haproxy"),
        pytest.param(moment(*WATCHED), running(), (), id="counted"),
        pytest.param(
            moment(*WATCHED, scrape(97.0, (), source="haproxy/b", errors=("cut",))),
            running(),
            ("haproxy/b answered in part",),
            id="counted-and-one-in-part",
        ),
    ],
)
def test_an_application_that_nobody_counts_is_a_blind_spot(
    seen: Moment, application: ApplicationState | None, spots: tuple[str, ...]
) -> None:
    assert front_door_blind_spots(seen, application) == spots
