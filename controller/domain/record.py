"""The decision record: one per tick, the single source of every explanation."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.domain.canary import CanaryRecord
from controller.domain.cluster_record import ClusterRecord, Leading
from controller.domain.forecast import ForecastStanding
from controller.domain.override import Override
from controller.domain.plan import BudgetUse, Conflict, Decision, Order, Outcome
from controller.domain.scrape import SourceHealth
from controller.domain.snapshot import Snapshot

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTerms:
    """What the policy asked for when the decision was made: bounds, objectives, and the quantile.

    ``quantile_from`` says in words where the forecast quantile comes from.
    """

    min_replicas: int
    max_replicas: int
    ttft_s: float
    itl_s: float
    success_ratio: float | None = None
    quantile: float | None = None
    quantile_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRecord:
    """Inputs, decision and outcome of one deployment in one tick."""

    snapshot: Snapshot
    decision: Decision
    outcome: Outcome
    terms: PolicyTerms | None = None
    standings: tuple[ForecastStanding, ...] = ()
    """How its forecasts have done, by signal and horizon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRecord:
    """One tick, complete. ``tick`` counts up and never repeats in one store.

    ``step_seconds`` are (step name, seconds) in order; ``degraded`` are sentences a person can act
    on (a stale source, an unwritable store).
    """

    tick: int
    at: float
    policy_version: str
    mode: str
    deployments: tuple[DeploymentRecord, ...]
    sources: tuple[SourceHealth, ...] = ()
    ledger: tuple[Order, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    budget: tuple[BudgetUse, ...] = ()
    overrides: tuple[Override, ...] = ()
    """Those in force, whether or not they changed a number."""
    cluster: ClusterRecord | None = None
    """Nodes and workers; None where the policy has no ``cluster``, or there is no Kubernetes to ask."""
    leading: Leading | None = None
    """None where this is the only controller."""
    canaries: tuple[CanaryRecord, ...] = ()
    """New builds of the policy's ``canaries``, by name."""
    degraded: tuple[str, ...] = ()
    step_seconds: tuple[tuple[str, float], ...] = ()
    schema: int = field(default=SCHEMA_VERSION)
