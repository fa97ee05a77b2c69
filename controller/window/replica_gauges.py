"""Ray Serve's own account of a deployment: requests inside its replicas, and requests they processed.

While replicas run, handle metrics are left out on purpose: they read 0 under direct streaming, whatever is queued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.catalog import scraped
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.serve import DeploymentState, Replica, ReplicaState
from controller.window.reach import Moment, Rate, summed, total
from controller.window.replicas import KnownReplica
from controller.window.view import View

NAME = "Serve"


def is_new(moment: Moment, replica: KnownReplica | None) -> bool:
    """Whether a replica is so new that it need not have shown any metric yet."""
    born_at = replica.born_at if replica else None
    return born_at is not None and moment.now - born_at <= moment.window.max_age_s


def serve_view(moment: Moment, deployment: DeploymentState, known: Mapping[str, KnownReplica]) -> View:
    """Return what the replicas that Serve lists say; those it listed within the window add their arrivals."""
    if deployment.target_replicas == 0 and not deployment.replicas:
        return _resting(moment, deployment)
    if not deployment.count(ReplicaState.RUNNING):
        unknown = Unknown("no replica is RUNNING")
        return View(name=NAME, in_flight=unknown, arrivals=unknown)
    in_flight = {replica.replica_id: _in_flight(moment, replica, known) for replica in deployment.replicas}
    counted = [reading for reading in in_flight.values() if isinstance(reading, Known)]
    return View(
        name=NAME,
        in_flight=_whole(list(in_flight.values())),
        at_least=total(counted).value,
        arrivals=_arrivals(moment, deployment, known),
    )


def _resting(moment: Moment, deployment: DeploymentState) -> View:
    """Nothing runs, so nothing is in flight but what waits at handles; all traffic would be HTTP requests.

    An agent shows neither a queue nor a count before there was a first request.
    """
    counted = moment.window.find(scraped.SERVE_HTTP_REQUESTS.name, deployment.id.application)
    quiet = [moment.quiet(source) for source in moment.ray]
    whole = [rate for rate in quiet if rate is not None]
    if not whole or len(whole) < len(quiet):
        unknown = Unknown("not every Ray metrics agent answered in full")
        return View(name=NAME, in_flight=unknown, arrivals=unknown)
    queued = handle_queue(moment, deployment.id)
    arrivals = moment.rate(counted) if counted else summed(whole)
    return View(
        name=NAME,
        in_flight=queued or Known(0.0, max(rate.age_s for rate in whole)),
        arrivals=arrivals or Unknown("not enough scrapes yet"),
    )


def handle_queue(moment: Moment, deployment: DeploymentId) -> Known | None:
    """Requests queued at the deployment's handles; None when no handle shows itself."""
    series = moment.window.find(scraped.SERVE_QUEUED_HANDLE.name, deployment.application, deployment.deployment)
    shown = [reading for one in series if moment.is_shown(one) and (reading := moment.believed([one])) is not None]
    return total(shown) if shown else None


def processing(moment: Moment, replica_id: str) -> Known | None:
    """Requests inside one replica, its engine's waiting ones included."""
    return moment.believed(moment.window.find(scraped.SERVE_PROCESSING.name, replica_id))


def _in_flight(moment: Moment, replica: Replica, known: Mapping[str, KnownReplica]) -> Reading | None:
    shown = processing(moment, replica.replica_id)
    if shown is not None or replica.state is not ReplicaState.RUNNING:
        return shown
    if is_new(moment, known.get(replica.replica_id)):
        return None
    return Unknown(_missing(moment, replica.replica_id))


def _missing(moment: Moment, replica_id: str) -> str:
    if not moment.ray:
        return "no Ray metrics agent is scraped"
    return f"{moment.stale_ray[0]} is stale" if moment.stale_ray else f"replica {replica_id} shows no gauge"


def _whole(readings: Sequence[Reading | None]) -> Reading:
    unknown = next((reading for reading in readings if isinstance(reading, Unknown)), None)
    if unknown is not None:
        return unknown
    known = [reading for reading in readings if isinstance(reading, Known)]
    return total(known) if known else Unknown("no replica shows metrics yet")


def _arrivals(moment: Moment, deployment: DeploymentState, known: Mapping[str, KnownReplica]) -> Rate | Unknown:
    rates: list[Rate] = []
    running = {replica.replica_id for replica in deployment.replicas if replica.state is ReplicaState.RUNNING}
    for replica_id in running | set(known):
        rate = _processed(moment, replica_id, known.get(replica_id))
        if rate is not None:
            rates.append(rate)
        elif replica_id in running and not is_new(moment, known.get(replica_id)):
            return Unknown(_unmeasured(moment, replica_id))
    return summed(rates) or Unknown("no replica shows metrics yet")


def _processed(moment: Moment, replica_id: str, known: KnownReplica | None) -> Rate | None:
    counters = moment.window.find(scraped.SERVE_REQUESTS.name, replica_id)
    if counters:
        return moment.rate(counters, zero_at=known.born_at if known else None)
    # The counter appears with the first request, in the same process as the gauge.
    for gauge in moment.window.find(scraped.SERVE_PROCESSING.name, replica_id):
        if moment.is_shown(gauge):
            return moment.quiet(moment.window.source(gauge.source))
    return None


def _unmeasured(moment: Moment, replica_id: str) -> str:
    if moment.window.find(scraped.SERVE_REQUESTS.name, replica_id) and not moment.stale_ray:
        return f"replica {replica_id}: not enough scrapes yet"
    return _missing(moment, replica_id)
