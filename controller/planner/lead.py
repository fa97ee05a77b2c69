"""How long an ordered replica takes until it serves, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from controller.domain.forecast import LayerLead, LeadSource, LeadTime
from controller.domain.layer import Layer
from controller.domain.reading import Known
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.policy.model import DeploymentPolicy

DEFAULT_S = 120.0
"""Assumed of a replica when nothing was measured and the policy says nothing."""
DEFAULT_WORKER_S = 60.0
DEFAULT_NODE_S = 300.0

_KEPT = 20
_ENOUGH = 3
_P95_MARGIN = 1.25
"""Where only one figure is known, the 95th percentile is this much longer."""
_FEW_P90_MARGIN, _FEW_P95_MARGIN = 1.25, 1.5
_CERTAINTY = tuple(LeadSource)


def with_starts(memory: DeploymentMemory, snapshot: Snapshot, policy: DeploymentPolicy) -> DeploymentMemory:
    """Remember the last 20 measured start-ups, this snapshot's included; those that waited for a node apart.

    Of replicas that became ready together the last ones are those beyond ``warm_replicas``.
    """
    ended = sorted(snapshot.startups, key=lambda start: start.ready_at)
    seconds = [start.seconds for start in ended if math.isfinite(start.seconds) and start.seconds > 0]
    warm = policy.lead_time.warm_replicas
    ready = 0 if snapshot.replicas is None else snapshot.replicas.ready
    cold = 0 if warm is None else min(len(seconds), max(0, ready - warm))
    split = len(seconds) - cold
    return replace(
        memory,
        startup_seconds=(*memory.startup_seconds, *seconds[:split])[-_KEPT:],
        cold_startup_seconds=(*memory.cold_startup_seconds, *seconds[split:])[-_KEPT:],
    )


def lead_time(
    policy: DeploymentPolicy,
    memory: DeploymentMemory,
    snapshot: Snapshot,
    *,
    below: Sequence[LayerLead] | None = None,
    on_worker: LeadTime | None = None,
) -> LeadTime:
    """Best available lead time of the next replica: starts watched, Serve's histogram, the policy, then defaults.

    Where the cluster is seen, ``below`` are the layers that the next replica waits for, and ``on_worker`` is what was
    measured of its replicas once they had a worker; then ``lead_time`` of the policy counts for the replica only.

    Beyond ``lead_time.warm_replicas`` it is cold: starts that were watched there, else the sum of all layers,
    quantile by quantile. Quantiles of watched starts are order statistics. One or two starts say little about the
    slow ones: the longest is then taken 25 % longer for P90 and 50 % longer for P95. A single figure from another
    source stands for P50 and P90, and 25 % more for P95.
    """
    memory = with_starts(memory, snapshot, policy)
    if below is not None:
        replica = _replica(policy, memory, snapshot) if on_worker is None else _as_layer(on_worker)
        samples = len(memory.startup_seconds) if on_worker is None else on_worker.samples
        return _sum([replica, *below], samples=samples)
    replica = _replica(policy, memory, snapshot)
    warm = policy.lead_time.warm_replicas
    if warm is None or (snapshot.target_replicas or 0) < warm:
        return _sum([replica], samples=len(memory.startup_seconds))
    if memory.cold_startup_seconds:
        return _cold(replica, sorted(memory.cold_startup_seconds))
    worker = _configured(Layer.WORKER, policy.lead_time.worker_s, DEFAULT_WORKER_S)
    node = _configured(Layer.NODE, policy.lead_time.node_s, DEFAULT_NODE_S)
    return _sum([replica, worker, node], samples=len(memory.startup_seconds))


def _replica(policy: DeploymentPolicy, memory: DeploymentMemory, snapshot: Snapshot) -> LayerLead:
    if memory.startup_seconds:
        return _measured(Layer.REPLICA, sorted(memory.startup_seconds))
    histogram = snapshot.startup_p90_s
    if isinstance(histogram, Known) and histogram.value > 0:
        return _single(Layer.REPLICA, histogram.value, LeadSource.STARTUP_METRICS)
    return _configured(Layer.REPLICA, policy.lead_time.assumed_s, DEFAULT_S)


def _as_layer(lead: LeadTime) -> LayerLead:
    return LayerLead(layer=Layer.REPLICA, p50_s=lead.p50_s, p90_s=lead.p90_s, p95_s=lead.p95_s, source=lead.source)


def _configured(layer: Layer, given_s: float | None, default_s: float) -> LayerLead:
    if given_s is not None:
        return _single(layer, given_s, LeadSource.POLICY)
    return _single(layer, default_s, LeadSource.DEFAULT)


def _sum(layers: Sequence[LayerLead], *, samples: int) -> LeadTime:
    return LeadTime(
        p50_s=sum(one.p50_s for one in layers),
        p90_s=sum(one.p90_s for one in layers),
        p95_s=sum(one.p95_s for one in layers),
        source=max((one.source for one in layers), key=_CERTAINTY.index),
        samples=samples,
        layers=tuple(layers),
    )


def _cold(replica: LayerLead, starts: Sequence[float]) -> LeadTime:
    """Whole starts were watched; what they took beyond the replica itself was worker and node together."""
    whole = _measured(Layer.NODE, starts)
    beyond = LayerLead(
        layer=Layer.NODE,
        p50_s=max(0.0, whole.p50_s - replica.p50_s),
        p90_s=max(0.0, whole.p90_s - replica.p90_s),
        p95_s=max(0.0, whole.p95_s - replica.p95_s),
        source=LeadSource.MEASURED,
    )
    return LeadTime(
        p50_s=whole.p50_s,
        p90_s=whole.p90_s,
        p95_s=whole.p95_s,
        source=LeadSource.MEASURED,
        samples=len(starts),
        layers=(replica, beyond),
    )


def _measured(layer: Layer, starts: Sequence[float]) -> LayerLead:
    few = len(starts) < _ENOUGH
    return LayerLead(
        layer=layer,
        p50_s=_order_statistic(starts, 0.5),
        p90_s=starts[-1] * _FEW_P90_MARGIN if few else _order_statistic(starts, 0.9),
        p95_s=starts[-1] * _FEW_P95_MARGIN if few else _order_statistic(starts, 0.95),
        source=LeadSource.MEASURED,
    )


def _single(layer: Layer, seconds: float, source: LeadSource) -> LayerLead:
    return LayerLead(layer=layer, p50_s=seconds, p90_s=seconds, p95_s=seconds * _P95_MARGIN, source=source)


def _order_statistic(ordered: Sequence[float], probability: float) -> float:
    return ordered[math.ceil(probability * len(ordered) - 1e-9) - 1]
