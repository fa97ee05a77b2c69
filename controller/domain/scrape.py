"""What one collector saw in one pass over one endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.identity import DeploymentId
from controller.domain.serve import ServeState


class SourceKind(StrEnum):
    """Which system an endpoint speaks for."""

    RAY = "ray"
    HAPROXY = "haproxy"
    SERVE = "serve"
    LATENCY = "latency"
    """Latencies of whole deployments, added up by Prometheus. They tell of no demand."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One exposed sample. ``labels`` holds the catalogued labels only, sorted by name."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """What one histogram observed over ``seconds``, of all replicas of a deployment together.

    ``family`` is the histogram's name, ``buckets`` the cumulative counts by upper bound.
    """

    deployment: DeploymentId
    family: str
    seconds: float
    buckets: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One endpoint's answer. ``ok`` is false when nothing usable came; samples may then be empty.

    ``source`` identifies the endpoint ("ray/10.0.0.3:8080") and is stable from scrape to scrape.
    ``errors`` may be non-empty although ``ok`` holds: a partial answer is normal.
    """

    source: str
    kind: SourceKind
    at: float
    ok: bool
    samples: tuple[Sample, ...] = ()
    serve: ServeState | None = None
    distributions: tuple[Distribution, ...] = ()
    errors: tuple[str, ...] = ()
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHealth:
    """How fresh one source is. ``age_s`` is None when it has never answered."""

    source: str
    kind: SourceKind
    age_s: float | None
    stale: bool
    error: str | None = None
