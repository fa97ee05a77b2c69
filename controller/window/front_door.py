"""HAProxy's account: every request of an application, served, queued or refused."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from controller.catalog import scraped
from controller.catalog.metric import Metric
from controller.domain.reading import Known, Unknown
from controller.window.reach import Moment, Rate, summed, total
from controller.window.series import Series
from controller.window.view import View

NAME = "HAProxy"
_VIA_ROUTER = "-via-ingress-request-router"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def backends(application: str) -> tuple[str, str]:
    """Names that Ray Serve gives an application's backends: plain requests, and those routed to a replica."""
    plain = _UNSAFE.sub("_", f"http-{application}".replace("#", "-").replace("/", "."))
    return plain, plain + _VIA_ROUTER


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """HAProxy's view, the responses that went wrong as it counts them (5xx of any cause, and denied).

    ``unconnected`` are connections to servers that failed, ``held`` the requests inside, queued ones included.
    """

    view: View
    failures: Rate | None
    unconnected: Rate | None
    held: Known | Unknown


def front_door(moment: Moment, application: str, *, sole: bool) -> FrontDoor:
    """Return what HAProxy says; ``sole`` tells whether all of the application's traffic is the deployment's."""
    reason = _blocked(moment, sole=sole)
    sessions = _shown(moment, scraped.HAPROXY_SESSIONS, application) if sole else []
    if reason is None and not sessions:
        reason = f"no backend {backends(application)[0]}"
    known = [Known(one.last, moment.age(one.last_at)) for one in sessions]
    in_flight = total(known)
    requests = moment.rate(_shown(moment, scraped.HAPROXY_REQUESTS, application)) if sole else None
    return FrontDoor(
        view=View(
            name=NAME,
            in_flight=Unknown(reason) if reason else in_flight,
            at_least=in_flight.value,
            arrivals=Unknown(reason or "not enough scrapes yet") if reason or requests is None else requests,
        ),
        failures=None if reason else _failures(moment, application),
        unconnected=moment.rate(_shown(moment, scraped.HAPROXY_CONNECTION_ERRORS, application)),
        held=Unknown(reason) if reason else max(in_flight, _queued(moment, application), key=lambda one: one.value),
    )


def responses(moment: Moment, application: str) -> tuple[Rate, Rate] | None:
    """Return an application's responses per second and the 5xx among them, of any cause; None where unknown."""
    if _blocked(moment, sole=True) is not None:
        return None
    shown = _shown(moment, scraped.HAPROXY_RESPONSES, application)
    every = moment.rate(shown)
    failed = moment.rate([series for series in shown if ("code", "5xx") in series.labels])
    return None if every is None or failed is None else (every, failed)


def counts_sessions(moment: Moment, application: str) -> bool:
    """Whether any HAProxy showed a usable count of the application's sessions lately."""
    names = backends(application)
    return any(moment.believed(moment.window.find(scraped.HAPROXY_SESSIONS.name, name)) for name in names)


def _blocked(moment: Moment, *, sole: bool) -> str | None:
    if not sole:
        return "its application has several deployments in the policy"
    if not moment.haproxies:
        return "not scraped"
    for source in moment.haproxies:
        if not source.is_fresh(moment.now):
            return f"{source.name} is stale"
        if not source.complete:
            return f"{source.name} answered in part"
    return None


def _shown(moment: Moment, metric: Metric, application: str) -> list[Series]:
    return [
        series
        for backend in backends(application)
        for series in moment.window.find(metric.name, backend)
        if moment.is_shown(series) and moment.is_fresh(series) and not math.isnan(series.last)
    ]


def _queued(moment: Moment, application: str) -> Known:
    return total(
        [Known(one.last, moment.age(one.last_at)) for one in _shown(moment, scraped.HAPROXY_QUEUE, application)]
    )


def _failures(moment: Moment, application: str) -> Rate | None:
    responses = _shown(moment, scraped.HAPROXY_RESPONSES, application)
    failed = moment.rate([series for series in responses if ("code", "5xx") in series.labels])
    denied = moment.rate(_shown(moment, scraped.HAPROXY_DENIED, application))
    known: Sequence[Rate] = [rate for rate in (failed, denied) if rate is not None]
    return summed(known)
