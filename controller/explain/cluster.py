"""Nodes and workers of one tick in words: what is there, what is wanted, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator

from controller.domain.cluster_record import ClusterRecord, GroupSeen, LayerNeed, PoolSeen
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.domain.pools import PoolVerdict
from controller.domain.supply import SupplyLead, SupplyStatus
from controller.explain.wording import duration, plural

_TOLD = (SupplyStatus.PENDING, SupplyStatus.LATE, SupplyStatus.REFUSED)


def needs_words(record: ClusterRecord, deployment: DeploymentId) -> Iterator[str]:
    """Say what each layer is to carry of one deployment, and what of it has no place."""
    for need in record.needs:
        if need.id == deployment and need.layer is not Layer.REPLICA:
            yield _need(need)
    for one in record.plan.unplaced:
        if one.id == deployment:
            yield f"{plural(one.replicas, 'replica')} without a place ({one.obstacle.value}): {one.detail}"
    late = dict(record.plan.late).get(deployment)
    if late:
        yield f"{plural(late, 'replica')} with a place that comes too late"


def pool_words(record: ClusterRecord) -> Iterator[tuple[str, str]]:
    """Name each pool, and say what is there of it and what is wanted."""
    wanted = {target.pool: target for target in record.plan.pools}
    verdicts = {verdict.pool: verdict for verdict in record.verdicts}
    for pool in record.pools:
        target = wanted.get(pool.pool)
        plan = "" if target is None else f"{plural(target.nodes, 'node')} wanted; "
        yield pool.pool, plan + _there(pool) + _closed(verdicts.get(pool.pool))


def group_words(record: ClusterRecord) -> Iterator[tuple[str, str]]:
    """Name each worker group, and say what is there of it and what is wanted."""
    wanted = {target.group: target for target in record.plan.groups}
    for group in record.groups:
        target = wanted.get(group.group)
        plan = "" if target is None else f"{target.min_workers} to {target.max_workers} wanted; "
        yield group.group, plan + _workers(group)


def deed_words(record: ClusterRecord) -> Iterator[tuple[str, OutcomeStatus]]:
    """Say what was done about nodes and workers, and what came of it."""
    steps = {(step.layer, step.name): step for step in record.steps}
    for outcome in record.outcomes:
        step = steps.get((outcome.layer, outcome.name))
        what = f"{outcome.layer.value} {outcome.name}"
        change = "" if step is None else f": {step.found} → {step.wanted} ({step.detail})"
        by = f" by {outcome.lever}" if outcome.lever else ""
        said = f": {outcome.detail}" if outcome.detail else ""
        yield f"{what}{change}; {outcome.status.value.replace('_', ' ')}{by}{said}", outcome.status


def order_words(record: ClusterRecord, at: float) -> Iterator[tuple[str, SupplyStatus]]:
    """Say what is on its way, late or refused, as of ``at`` (Unix seconds)."""
    for one in record.standings:
        if one.status in _TOLD:
            ago = duration(at - one.order.ordered_at)
            what = f"{one.wanted} {one.order.layer.value}s of {one.order.key} ordered {ago} ago, {one.ready} ready"
            due = f", due in {duration(one.order.deadline - at)}" if one.status is SupplyStatus.PENDING else ""
            why = f" ({one.reason})" if one.reason else ""
            yield f"{what}; {one.status.value}{due}{why}", one.status


def lead_words(record: ClusterRecord) -> Iterator[str]:
    """Say how long each pool's layers took, and on what."""
    for lead in record.leads:
        p90 = f"p90 {duration(lead.lead.p90_s)} ({lead.lead.source.value})"
        yield f"{lead.pool} {lead.layer.value}: {p90} = {_legs(lead)}"


def _legs(lead: SupplyLead) -> str:
    return " + ".join(f"{leg.leg.value.replace('_', '-')} {duration(leg.p90_s)}" for leg in lead.legs)


def _need(need: LayerNeed) -> str:
    return f"in {duration(need.due_s)} (the lead of a {need.layer.value}) {need.replicas}: {need.detail}"


def _there(pool: PoolSeen) -> str:
    if pool.ready is None:
        return "what is there is unknown"
    parts = [f"{pool.ready} ready", f"{pool.in_use} in use"]
    parts += [f"{pool.starting} starting"] if pool.starting else []
    parts += [f"{pool.draining} draining"] if pool.draining else []
    parts += [f"{pool.coming} ordered"] if pool.coming else []
    parts += [f"{pool.warm} kept warm"] if pool.warm else []
    return f"{', '.join(parts)} of at most {pool.most}"


def _workers(group: GroupSeen) -> str:
    bounds = "bounds unknown" if group.min_workers is None else f"bounds {group.min_workers} to {group.max_workers}"
    if group.ready is None:
        return f"{bounds}, workers unknown"
    return f"{bounds}; {group.ready} ready, {group.busy} busy, {group.starting} starting, {group.pending or 0} pending"


def _closed(verdict: PoolVerdict | None) -> str:
    if verdict is None:
        return ""
    where = f" in {verdict.zone}" if verdict.zone else ""
    return f"; {verdict.kind.value.replace('_', ' ')}{where}: {verdict.detail}"
