"""What should be seen and is not: sentences a person can act on. While there is one, nothing is lowered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.catalog import scraped
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.serve import ApplicationState, DeploymentState, ReplicaState
from controller.window.front_door import counts_sessions
from controller.window.reach import Moment
from controller.window.replica_gauges import is_new
from controller.window.replicas import KnownReplica

_RUNNING = "RUNNING"
_NEEDED = {SourceKind.RAY: "Ray metrics agent", SourceKind.SERVE: "Serve REST state"}


def source_blind_spots(moment: Moment, health: Iterable[SourceHealth]) -> tuple[str, ...]:
    """Sources that are stale, or were never there although nothing can be known without them."""
    spots = []
    seen = set()
    for source in health:
        seen.add(source.kind)
        if source.stale and source.kind is not SourceKind.LATENCY:
            spots.append(_stale(source, moment.window.max_age_s))
    spots.extend(f"no {name} was ever read" for kind, name in _NEEDED.items() if kind not in seen)
    return tuple(spots)


def front_door_blind_spots(moment: Moment, application: ApplicationState | None) -> tuple[str, ...]:
    """Tell of a running application with a route that no scraped HAProxy counts, and of answers that were not whole."""
    if application is None or application.status != _RUNNING or application.route_prefix is None:
        return ()
    answering = [source for source in moment.haproxies if source.is_fresh(moment.now)]
    if not answering:
        return ()
    if not counts_sessions(moment, application.name):
        return (f"no HAProxy counts the sessions of application {application.name}",)
    return tuple(f"{source.name} answered in part" for source in answering if not source.complete)


def replica_blind_spots(
    moment: Moment, deployment: DeploymentState, known: Mapping[str, KnownReplica], unseen: Iterable[str]
) -> tuple[str, ...]:
    """RUNNING replicas that no fresh source tells about, and those that serve with an ``unseen`` engine."""
    hidden = set(unseen)
    spots = []
    for replica in deployment.replicas:
        if replica.state is not ReplicaState.RUNNING or is_new(moment, known.get(replica.replica_id)):
            continue
        if replica.replica_id in hidden:
            spots.append(f"replica {replica.replica_id} of {deployment.id} serves requests but shows no vLLM metrics")
        elif not _is_seen(moment, replica.replica_id):
            spots.append(f"replica {replica.replica_id} of {deployment.id} is RUNNING but no source shows it")
    return tuple(spots)


def _is_seen(moment: Moment, replica_id: str) -> bool:
    # A source that is stale is told of by itself.
    names = (scraped.SERVE_PROCESSING.name, scraped.SERVE_REQUESTS.name, scraped.VLLM_GENERATION_TOKENS.name)
    return bool(moment.stale_ray) or any(moment.believed(moment.window.find(name, replica_id)) for name in names)


def _stale(source: SourceHealth, max_age_s: float) -> str:
    since = "never answered" if source.age_s is None else f"last answered {source.age_s:.0f} s ago"
    why = f": {source.error}" if source.error else ""
    return f"{source.source} {since} (limit {max_age_s:g} s){why}"
