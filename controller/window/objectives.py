"""Events that objectives are about, and those that broke them; the same as the recording rules count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from alerts.recording import FAILED_STATUS
from controller.catalog import scraped
from controller.domain.objective import Events, Objective, Thresholds
from controller.window import histogram
from controller.window.front_door import responses
from controller.window.latency import Observations
from controller.window.reach import Moment, Rate

_FAILED = re.compile(FAILED_STATUS)


def objective_events(
    moment: Moment, application: str, ttft: Observations, itl: Observations, promised: Thresholds | None
) -> Mapping[Objective, Events]:
    """Return the events of each objective; one of which nothing is known is left out."""
    found: dict[Objective, Events] = {}
    if promised is not None and moment.ray and not moment.stale_ray:
        timed = ((Objective.TTFT, ttft, promised.ttft_s), (Objective.ITL, itl, promised.itl_s))
        found |= {objective: _timed(observed, limit_s) for objective, observed, limit_s in timed if observed.known}
    views = list(_http(moment, application))
    if views:
        # Serve does not see what HAProxy answers by itself, and HAProxy forgets at each reload: who saw more is nearer.
        found[Objective.SUCCESS] = Events(
            per_s=max(every.per_s for every, _ in views), bad_per_s=max(failed.per_s for _, failed in views)
        )
    return found


def _timed(observed: Observations, limit_s: float) -> Events:
    late, every = histogram.beyond(observed.buckets, limit_s)
    return Events(per_s=every / observed.seconds, bad_per_s=late / observed.seconds)


def _http(moment: Moment, application: str) -> Iterator[tuple[Rate, Rate]]:
    """Requests and failed ones per second, as each system that can tell counts them."""
    if moment.ray and not moment.stale_ray:
        counted = moment.window.find(scraped.SERVE_HTTP_REQUESTS.name, application)
        every = moment.rate(counted)
        failed = [one for one in counted if _FAILED.fullmatch(dict(one.labels).get("status_code", ""))]
        bad = moment.rate(failed) if failed else every and Rate(0.0, every.seconds, every.age_s)
        if every is not None and bad is not None:
            yield every, bad
    at_the_door = responses(moment, application)
    if at_the_door is not None:
        yield at_the_door
