"""An application's failed requests as Ray Serve counts them: shed ones (503) and errors."""

from __future__ import annotations

from dataclasses import dataclass

from controller.catalog import scraped
from controller.domain.reading import Reading, Unknown
from controller.window.reach import Moment, Rate
from controller.window.series import Series

SHED_CODE = "503"


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests per second that were shed, and that failed with another 5xx (a client that left is neither)."""

    shed: Rate | Unknown
    errors: Rate | Unknown


def failures(moment: Moment, application: str) -> Failures:
    """Return the failures of one application, on all nodes."""
    if moment.stale_ray:
        unknown = Unknown(f"{moment.stale_ray[0]} is stale")
        return Failures(unknown, unknown)
    counted = moment.window.find(scraped.SERVE_HTTP_ERRORS.name, application)
    codes = [(dict(series.labels).get("error_code", ""), series) for series in counted]
    return Failures(
        shed=_rate(moment, application, [series for code, series in codes if code == SHED_CODE]),
        errors=_rate(
            moment, application, [series for code, series in codes if code.startswith("5") and code != SHED_CODE]
        ),
    )


def errors_per_s(counted: Failures, at_front_door: Rate | None) -> Reading:
    """Failed requests per second as Ray counts them; while it does not, HAProxy's count, which includes shed ones."""
    if isinstance(counted.errors, Rate):
        return counted.errors.reading()
    return at_front_door.reading() if at_front_door else counted.errors


def _rate(moment: Moment, application: str, series: list[Series]) -> Rate | Unknown:
    if series:
        return moment.rate(series) or Unknown("not enough scrapes yet")
    # A code's counter appears with its first failure, but beside the counters of all requests.
    for beside in moment.window.find(scraped.SERVE_HTTP_REQUESTS.name, application):
        quiet = moment.quiet(moment.window.source(beside.source)) if moment.is_shown(beside) else None
        if quiet is not None:
            return quiet
    return Unknown(f"no HTTP request of application {application} was counted yet")
