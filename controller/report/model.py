"""What a report says, as data: the schema of report.json.

Lists named alike run in parallel: entry ``i`` of each belongs to ``at[i]`` (Unix seconds). None means
that it was not known. Seconds, counts and rates as the names say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.domain.signals import Signal
from controller.load.summary import LoadSummary

REPORT_SCHEMA = 1
Numbers = tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSeries:
    """One signal that the deployment is sized by.

    ``demand`` was measured then. ``p50`` and ``p90`` are of the forecast made then, for the highest
    demand within the next ``horizon_s``. ``due_p50`` and ``due_p90`` are of the forecast whose time
    is up now, and ``peak`` is what it was about: the highest demand of the ``horizon_s`` that end
    now. ``carried`` is what the ready replicas carry. ``held`` of ``judged`` is how often ``peak``
    did not exceed ``due_p90``.
    """

    signal: Signal
    per_replica: float | None
    method: str
    demand: Numbers
    horizon_s: Numbers
    p50: Numbers
    p90: Numbers
    due_p50: Numbers
    due_p90: Numbers
    peak: Numbers
    carried: Numbers
    held: int
    judged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRow:
    """One stage's number and sentence."""

    stage: str
    replicas: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision that asked for something."""

    at: float
    tick: int
    before: int | None
    after: int | None
    action: str
    reason: str
    sentence: str
    stages: tuple[StageRow, ...]
    outcome: str
    outcome_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadRow:
    """How long replicas were expected to take, at the end of the run, and those that were seen to start."""

    p50_s: float
    p90_s: float
    p95_s: float
    source: str
    samples: int
    starts_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the policy asked for."""

    min_replicas: int
    max_replicas: int
    ttft_s: float
    itl_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentReport:
    """One deployment over the run."""

    id: str
    terms: Terms | None
    lead: LeadRow
    capacity_source: str
    capacity_detail: str
    at: tuple[float, ...]
    target: tuple[int | None, ...]
    ready: tuple[int | None, ...]
    starting: tuple[int | None, ...]
    ttft_p95_s: Numbers
    itl_p95_s: Numbers
    queued_requests: Numbers
    errors_per_s: Numbers
    shed_per_s: Numbers
    replica_seconds: float
    signals: tuple[SignalSeries, ...]
    decisions: tuple[DecisionRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """One order of capacity and what became of it."""

    id: str
    ordered_at: float
    from_replicas: int
    to_replicas: int
    deadline: float
    status: str
    closed_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One source over the run. ``worst_age_s`` None: it never answered."""

    source: str
    kind: str
    ticks: int
    stale_ticks: int
    worst_age_s: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRow:
    """Something that was not as it should be, and from when to when it was said."""

    text: str
    first_at: float
    last_at: float
    ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSeries:
    """What the load generator saw, one entry per ``bin_s`` seconds of the schedule.

    Latencies are of the requests scheduled within the last ``window_s`` seconds and count from the
    schedule; ``rps`` is what was due, ``failed`` what of it failed or was dropped.
    """

    bin_s: float
    window_s: float
    at: tuple[float, ...]
    rps: Numbers
    failed: tuple[int, ...]
    ttft_p50_s: Numbers
    ttft_p95_s: Numbers
    itl_p50_s: Numbers
    itl_p95_s: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """The load generator's side of the run."""

    summary: LoadSummary
    series: TrafficSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSeconds:
    """How long ticks took, and which steps of them took how long at the median."""

    p50: float
    p99: float
    most: float
    steps_p50: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A whole run. ``started_at`` and ``ended_at`` are Unix seconds."""

    title: str
    foreserve: str
    started_at: float
    ended_at: float
    modes: tuple[str, ...]
    policy_versions: tuple[str, ...]
    ticks: int
    tick_seconds: TickSeconds | None
    deployments: tuple[DeploymentReport, ...]
    ledger: tuple[OrderRow, ...]
    sources: tuple[SourceRow, ...]
    notes: tuple[NoteRow, ...]
    traffic: TrafficReport | None
    schema: int = field(default=REPORT_SCHEMA)
