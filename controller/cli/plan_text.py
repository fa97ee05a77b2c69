"""A record in plain sentences, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from controller.domain.cluster_record import ClusterRecord
from controller.domain.forecast import Forecast
from controller.domain.layer import Layer
from controller.domain.plan import Action, Decision
from controller.domain.reading import Known, Reading
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.snapshot import Snapshot
from controller.explain.cluster import group_words, pool_words


def plan_text(record: TickRecord) -> str:
    """Return inputs, band, steps and what would be done, for every deployment."""
    lines = [line for deployment in record.deployments for line in (*_deployment(deployment), "")]
    lines += [] if record.cluster is None else [*_cluster(record.cluster), ""]
    lines += [f"note: {sentence}" for sentence in record.degraded]
    return "\n".join(lines).rstrip()


def _cluster(cluster: ClusterRecord) -> Iterator[str]:
    yield "cluster"
    for name, said in pool_words(cluster):
        yield f"  nodes      {name}: {said}"
    for name, said in group_words(cluster):
        yield f"  workers    {name}: {said}"
    for need in cluster.needs:
        when = f"for a {need.layer.value}'s lead, {need.due_s:.0f} s"
        yield f"  ahead      {need.id}: {need.replicas} {when}: {need.detail}"
    for one in cluster.plan.unplaced:
        yield f"  no place   {one.id}: {one.replicas} ({one.obstacle.value}): {one.detail}"
    for step in cluster.steps:
        if step.layer is not Layer.REPLICA:
            most = "" if step.most is None else f" (at most {step.most})"
            what = f"set {step.layer.value} {step.name} from {step.found} to {step.wanted}{most}"
            yield f"  would      {what}: {step.detail}"


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
