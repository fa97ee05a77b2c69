"""Policies side by side: the schema of a replay's report.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from controller.simulation.driver import Run, Sample
from controller.simulation.outcome import Waste
from controller.simulation.timeline import Timeline

COMPARISON_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRow:
    """One run."""

    seed: int
    gpu_hours: float
    oracle_ratio: float
    slo_attainment: float
    unserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One policy, means over the seeds. Shares are of all requests; GPU hours and waste count from order to end."""

    name: str
    gpu_hours: float
    oracle_ratio: float
    slo_attainment: float
    ttft_attainment: float
    tpot_attainment: float
    ttft_p50_s: float
    ttft_p95_s: float
    ttft_p99_s: float
    tpot_p50_s: float
    tpot_p99_s: float
    unserved: float
    scale_ups: float
    scale_downs: float
    waste: Waste
    seeds: tuple[SeedRow, ...]
    samples: tuple[Sample, ...]
    """Of the first seed."""
    timeline: Timeline
    """Of the first seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One policy with one start-up time."""

    name: str
    gpu_hours: float
    oracle_ratio: float
    slo_attainment: float
    ttft_p99_s: float
    unserved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """All policies when every replica takes exactly ``startup_s`` to start; the oracle is that of the same time."""

    startup_s: float
    policies: tuple[SweepRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A whole replay. ``command`` made it."""

    schema: int
    title: str
    command: str
    requests: int
    length_s: float
    ttft_objective_s: float
    tpot_objective_s: float
    attainment_objective: float
    policies: tuple[PolicyRow, ...]
    sweep: tuple[SweepPoint, ...] = ()


def sweep_point(startup_s: float, rows: Sequence[PolicyRow]) -> SweepPoint:
    """Keep of each row what a sweep shows."""
    return SweepPoint(
        startup_s=startup_s,
        policies=tuple(
            SweepRow(
                name=row.name,
                gpu_hours=row.gpu_hours,
                oracle_ratio=row.oracle_ratio,
                slo_attainment=row.slo_attainment,
                ttft_p99_s=row.ttft_p99_s,
                unserved=row.unserved,
            )
            for row in rows
        ),
    )


def policy_row(runs: Sequence[Run], oracle_gpu_hours: Sequence[float]) -> PolicyRow:
    """Average one policy's runs; ``oracle_gpu_hours`` are of the same seeds."""
    ratios = [run.cost.gpu_hours / best for run, best in zip(runs, oracle_gpu_hours, strict=True)]
    services = [run.service for run in runs]
    wastes = [run.cost.waste for run in runs]
    return PolicyRow(
        name=runs[0].name,
        gpu_hours=fmean(run.cost.gpu_hours for run in runs),
        oracle_ratio=fmean(ratios),
        slo_attainment=fmean(service.slo_attainment for service in services),
        ttft_attainment=fmean(service.ttft_attainment for service in services),
        tpot_attainment=fmean(service.tpot_attainment for service in services),
        ttft_p50_s=fmean(service.ttft_p50_s for service in services),
        ttft_p95_s=fmean(service.ttft_p95_s for service in services),
        ttft_p99_s=fmean(service.ttft_p99_s for service in services),
        tpot_p50_s=fmean(service.tpot_p50_s for service in services),
        tpot_p99_s=fmean(service.tpot_p99_s for service in services),
        unserved=fmean(service.unserved for service in services),
        scale_ups=fmean(run.scale_ups for run in runs),
        scale_downs=fmean(run.scale_downs for run in runs),
        waste=Waste(
            starting=fmean(waste.starting for waste in wastes),
            idle_ready=fmean(waste.idle_ready for waste in wastes),
            draining=fmean(waste.draining for waste in wastes),
            idle_nodes=fmean(waste.idle_nodes for waste in wastes),
        ),
        seeds=tuple(
            SeedRow(
                seed=run.seed,
                gpu_hours=run.cost.gpu_hours,
                oracle_ratio=ratio,
                slo_attainment=run.service.slo_attainment,
                unserved=run.service.unserved,
            )
            for run, ratio in zip(runs, ratios, strict=True)
        ),
        samples=runs[0].samples,
        timeline=runs[0].timeline,
    )
