"""From what a line tells to what the controller plans from."""

from __future__ import annotations

from collections.abc import Mapping

from controller.decisions.message import DeploymentTold, EngineTold, LatencyTold, ServiceTold, Told
from controller.domain.engine import EngineInterval, ServiceOutcomes
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.scrape import SourceHealth, SourceKind
from controller.domain.signals import MEASURED
from controller.domain.snapshot import NOT_DEPLOYED, UPDATING, Latency, ReplicaCounts, Snapshot, StartupSample
from controller.window.engine_work import EngineWork

_NOT_TOLD = Unknown("not told")
_NOTHING_TOLD = "not told about in this line"


def snapshot_of(wanted: DeploymentId, told: DeploymentTold | None, *, at: float, max_age_s: float) -> Snapshot:
    """Make the snapshot; a reading older than ``max_age_s`` is unknown, and so is all of a deployment left out."""
    if told is None:
        absent = DeploymentTold(deployment=str(wanted), blind_spots=(_NOTHING_TOLD,))
        return snapshot_of(wanted, absent, at=at, max_age_s=max_age_s)
    found: Mapping[str, Told] = dict(told.demand.items())
    return Snapshot(
        at=at,
        id=wanted,
        target_replicas=told.target if told.deployed else None,
        config_replicas=told.config_replicas,
        config_digest=told.config_digest,
        replicas=_counts(told),
        status=_status(told),
        demand={signal: _reading(found.get(signal.value), max_age_s) for signal in MEASURED},
        queued_requests=_reading(told.queued_requests, max_age_s),
        shed_per_s=_reading(told.shed_per_s, max_age_s),
        errors_per_s=_reading(told.errors_per_s, max_age_s),
        kv_cache_usage=_reading(told.kv_cache_usage, max_age_s),
        latency=_latency(told.latency, max_age_s),
        idle=told.idle,
        at_the_door=_reading(told.at_the_door, max_age_s),
        stop_streams=told.stop_streams,
        startup_p90_s=_NOT_TOLD if told.lead_time_s is None else _any_age(told.lead_time_s),
        startups=tuple(
            StartupSample(id=wanted, replica_id="", ready_at=at, seconds=seconds) for seconds in told.started_s
        ),
        sources=(SourceHealth(source="line", kind=SourceKind.SERVE, age_s=told.target_age_s, stale=False),),
        blind_spots=told.blind_spots,
    )


def engine_work_of(told: DeploymentTold | None) -> EngineWork:
    """Return what the engines did, for learning."""
    if told is None:
        return EngineWork(intervals=(), outcomes=None)
    return EngineWork(
        intervals=tuple(_interval(engine) for engine in told.engines),
        outcomes=None if told.service is None else _service(told.service),
    )


def _status(told: DeploymentTold) -> str:
    if not told.deployed:
        return NOT_DEPLOYED
    return UPDATING if told.updating else "TOLD"


def _counts(told: DeploymentTold) -> ReplicaCounts | None:
    counts = told.replicas
    if counts is None:
        return None
    return ReplicaCounts(ready=counts.running, starting=counts.starting, stopping=counts.stopping)


def _reading(told: Told | None, max_age_s: float) -> Reading:
    if told is None:
        return _NOT_TOLD
    if told.value is not None and told.age_s > max_age_s:
        return Unknown(f"{told.age_s:g} s old, older than {max_age_s:g} s")
    return _any_age(told)


def _any_age(told: Told) -> Reading:
    return Unknown(told.unknown or "") if told.value is None else Known(told.value, told.age_s)


def _latency(told: LatencyTold, max_age_s: float) -> Latency:
    readings: Mapping[str, Told | None] = dict(told)
    return Latency(**{name: _reading(reading, max_age_s) for name, reading in readings.items()})


def _interval(told: EngineTold) -> EngineInterval:
    return EngineInterval(**told.model_dump())


def _service(told: ServiceTold) -> ServiceOutcomes:
    return ServiceOutcomes(**told.model_dump())
