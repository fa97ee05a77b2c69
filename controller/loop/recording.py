"""Puts one tick's findings together as its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.domain.canary import CanaryRecord
from controller.domain.cluster_record import ClusterRecord, Leading
from controller.domain.forecast import ForecastStanding
from controller.domain.identity import DeploymentId
from controller.domain.override import Override
from controller.domain.plan import Order, Outcome
from controller.domain.record import DeploymentRecord, PolicyTerms, TickRecord
from controller.domain.scrape import SourceHealth
from controller.domain.snapshot import Snapshot
from controller.planner.decide import Plan
from controller.policy.model import DeploymentPolicy, Mode, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A tick's record without what came of it. ``problems`` are sentences for its ``degraded``."""

    tick: int
    at: float
    policy: Policy
    policy_version: str
    mode: Mode
    snapshots: Sequence[Snapshot]
    plan: Plan
    problems: Sequence[str]
    standings: Mapping[DeploymentId, tuple[ForecastStanding, ...]]
    overrides: tuple[Override, ...] = ()
    cluster: ClusterRecord | None = None
    leading: Leading | None = None
    canaries: tuple[CanaryRecord, ...] = ()

    def record(
        self,
        outcomes: Sequence[Outcome],
        *,
        ledger: tuple[Order, ...],
        step_seconds: tuple[tuple[str, float], ...],
        store_problem: str | None,
    ) -> TickRecord:
        """Complete the draft; ``outcomes`` are in the order of the plan's decisions."""
        sources = _sources(self.snapshots)
        store_problems = () if store_problem is None else (store_problem,)
        return TickRecord(
            tick=self.tick,
            at=self.at,
            policy_version=self.policy_version,
            mode=self.mode.value,
            deployments=self._deployments(outcomes),
            sources=sources,
            ledger=ledger,
            conflicts=self.plan.conflicts,
            budget=self.plan.budget,
            overrides=self.overrides,
            cluster=self.cluster,
            leading=self.leading,
            canaries=self.canaries,
            degraded=(*self.problems, *_stale(sources), *store_problems),
            step_seconds=step_seconds,
        )

    def _deployments(self, outcomes: Sequence[Outcome]) -> tuple[DeploymentRecord, ...]:
        snapshots = {snapshot.id: snapshot for snapshot in self.snapshots}
        terms = {deployment.id: _terms(deployment) for deployment in self.policy.deployments}
        return tuple(
            DeploymentRecord(
                snapshot=snapshots[decision.id],
                decision=decision,
                outcome=outcome,
                terms=terms[decision.id],
                standings=self.standings.get(decision.id, ()),
            )
            for decision, outcome in zip(self.plan.decisions, outcomes, strict=True)
        )


def _terms(deployment: DeploymentPolicy) -> PolicyTerms:
    return PolicyTerms(
        min_replicas=deployment.limits.min_replicas,
        max_replicas=deployment.limits.max_replicas,
        ttft_s=deployment.objectives.ttft_s,
        itl_s=deployment.objectives.itl_s,
        success_ratio=deployment.objectives.success_ratio,
        quantile=deployment.forecast.target_quantile if deployment.forecast.enabled else None,
        quantile_from=deployment.forecast.quantile_from,
    )


def _sources(snapshots: Sequence[Snapshot]) -> tuple[SourceHealth, ...]:
    """Every source once, by name."""
    health = {source.source: source for snapshot in snapshots for source in snapshot.sources}
    return tuple(health[name] for name in sorted(health))


def _stale(sources: Sequence[SourceHealth]) -> tuple[str, ...]:
    return tuple(_stale_sentence(source) for source in sources if source.stale)


def _stale_sentence(source: SourceHealth) -> str:
    state = "has never answered" if source.age_s is None else "is stale"
    return f"source {source.source} {state}" + (f": {source.error}" if source.error else "")
