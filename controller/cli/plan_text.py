"""A record in plain sentences, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from controller.domain.forecast import Forecast
from controller.domain.plan import Action, Decision
from controller.domain.reading import Known, Reading
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.snapshot import Snapshot


def plan_text(record: TickRecord) -> str:
    """Return inputs, band, steps and what would be done, for every deployment."""
    lines = [line for deployment in record.deployments for line in (*_deployment(deployment), "")]
    lines += [f"note: {sentence}" for sentence in record.degraded]
    return "\n".join(lines).rstrip()


def _deployment(record: DeploymentRecord) -> Iterator[str]:
    yield f"{record.decision.id}"
    yield f"  replicas   {_replicas(record.snapshot)}"
    for signal, reading in record.snapshot.demand.items():
        yield f"  demand     {signal.value}: {_reading(reading)}"
    for spot in record.snapshot.blind_spots:
        yield f"  blind spot {spot}"
    yield f"  lead time  {_lead(record.decision)}"
    for forecast in record.decision.forecasts:
        yield f"  forecast   {_band(forecast)}"
    if record.decision.forecast_unavailable:
        yield f"  forecast   none: {record.decision.forecast_unavailable}"
    for step in record.decision.steps:
        yield f"  {step.stage:<10} {step.replicas}, {step.reason.value}{_detail(step.detail)}"
    yield f"  would      {_verdict(record.decision)}"


def _replicas(snapshot: Snapshot) -> str:
    if snapshot.replicas is None:
        return f"unknown ({snapshot.status})"
    counts = snapshot.replicas
    found = f"{counts.ready} ready, {counts.starting} starting, {counts.stopping} stopping"
    return f"target {snapshot.target_replicas}; {found}"


def _reading(reading: Reading) -> str:
    if isinstance(reading, Known):
        return f"{reading.value:.4g} ({reading.age_s:.1f} s old)"
    return f"unknown, {reading.reason}"


def _lead(decision: Decision) -> str:
    lead = decision.lead
    return f"{lead.p50_s:.0f} s, P90 {lead.p90_s:.0f} s, P95 {lead.p95_s:.0f} s ({lead.source.value})"


def _band(forecast: Forecast) -> str:
    quantiles = ", ".join(f"P{probability * 100:g} {value:.4g}" for probability, value in forecast.quantiles)
    return f"{forecast.signal.value}: {quantiles} within {forecast.horizon_s:.0f} s ({forecast.method})"


def _detail(detail: str) -> str:
    return f": {detail}" if detail else ""


def _verdict(decision: Decision) -> str:
    reason = decision.binding.value
    if decision.action is Action.NONE:
        return f"change nothing ({reason})"
    return f"{decision.action.value.replace('_', ' ')} from {decision.current} to {decision.desired} ({reason})"
