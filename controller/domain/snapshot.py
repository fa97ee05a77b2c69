"""Everything observed about one deployment at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.domain.identity import DeploymentId
from controller.domain.objective import Events, Objective
from controller.domain.reading import Reading, Unknown
from controller.domain.scrape import SourceHealth
from controller.domain.signals import Signal

_NOT_OBSERVED = Unknown("not observed")

NOT_DEPLOYED = "NOT_DEPLOYED"
"""``Snapshot.status`` of a deployment that Serve does not have, which is more than not knowing."""

UPDATING = "UPDATING"
"""``Snapshot.status`` of a deployment that Serve is redeploying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency quantiles over the observation window, in seconds."""

    ttft_p50_s: Reading
    ttft_p95_s: Reading
    itl_p50_s: Reading
    itl_p95_s: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCounts:
    """Replicas by what they can do now: ``ready`` serve, ``starting`` will, ``stopping`` drain."""

    ready: int
    starting: int
    stopping: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartupSample:
    """How long one replica took from its creation to RUNNING, in seconds, and when it got there."""

    id: DeploymentId
    replica_id: str
    ready_at: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One deployment as the controller sees it.

    ``target_replicas`` and ``replicas`` come from Serve's REST state (None: unknown this tick).
    ``demand`` has one reading for each ``Signal``. ``idle`` is true only where two independent
    sources agree that there is no traffic. ``blind_spots`` names every source that is missing or
    stale; while there is one, a target may rise but never fall. ``startup_p90_s`` is read off Ray
    Serve's start-up histogram; ``startups`` are the replica starts that were seen to end since the
    previous snapshot. ``at_the_door`` counts requests held or failing in front of the replicas, the only
    sign of demand while none runs. ``stop_streams`` are the requests on the replicas that Serve would stop
    first, in that order (None: unknown; empty: not observed). ``objectives`` has the events of each promise
    of which it is known how many there were.
    """

    at: float
    id: DeploymentId
    target_replicas: int | None
    config_replicas: int | None
    config_digest: str | None
    replicas: ReplicaCounts | None
    status: str
    demand: Mapping[Signal, Reading]
    queued_requests: Reading
    shed_per_s: Reading
    errors_per_s: Reading
    kv_cache_usage: Reading
    latency: Latency
    idle: bool
    startup_p90_s: Reading
    startups: tuple[StartupSample, ...] = ()
    at_the_door: Reading = _NOT_OBSERVED
    stop_streams: tuple[float | None, ...] = ()
    objectives: Mapping[Objective, Events] = field(default_factory=dict)
    sources: tuple[SourceHealth, ...] = ()
    blind_spots: tuple[str, ...] = ()

    def reading(self, signal: Signal) -> Reading:
        """Return the reading of one signal; unknown when it was not observed."""
        return self.demand.get(signal, _NOT_OBSERVED)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One signal's past in evenly spaced bins, oldest first.

    ``values[i]`` is the mean over [start + i*step_s, start + (i+1)*step_s); None where unknown.
    """

    start: float
    step_s: float
    values: tuple[float | None, ...] = field(default=())

    @property
    def end(self) -> float:
        """The end of the newest bin (Unix seconds)."""
        return self.start + self.step_s * len(self.values)
