"""The cluster's part of a tick's record as series of catalogued gauges. A pure function of the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from controller.catalog import exported
from controller.catalog.metric import Series
from controller.domain.cluster_record import ClusterRecord, GroupSeen, PoolSeen
from controller.domain.forecast import LeadTime
from controller.domain.layer import Layer
from controller.domain.placement import GroupTarget, PoolTarget
from controller.domain.supply import SupplyStatus

_SHOWN = (SupplyStatus.PENDING, SupplyStatus.LATE, SupplyStatus.REFUSED)


def cluster_gauges(record: ClusterRecord) -> Iterator[Series]:
    """Yield every series of one record's cluster. What is unknown yields nothing, so its series ends."""
    yield exported.CLUSTER_KNOWN, (), record.unseen is None
    yield exported.CLUSTER_SOLVE, (), record.solve_s
    targets = {target.pool: target for target in record.plan.pools}
    closed = {verdict.pool: verdict.kind.value for verdict in record.verdicts if verdict.zone is None}
    for pool in record.pools:
        yield from _pool(pool, targets.get(pool.pool))
        yield exported.POOL_OPEN, (pool.pool, closed.get(pool.pool, "")), pool.pool not in closed
    wanted = {target.group: target for target in record.plan.groups}
    for group in record.groups:
        yield from _group(group, wanted.get(group.group))
    yield from _deployments(record)
    yield from _supply(record)


def _pool(pool: PoolSeen, target: PoolTarget | None) -> Iterator[Series]:
    counts = {
        "wanted": None if target is None else target.nodes,
        "ready": pool.ready,
        "starting": pool.starting,
        "draining": pool.draining,
        "in_use": pool.in_use,
        "coming": pool.coming,
        "warm": pool.warm,
    }
    for state, count in counts.items():
        if count is not None:
            yield exported.NODES, (pool.pool, state), count
    yield exported.NODES_MOST, (pool.pool,), pool.most
    yield exported.NODE_GPUS, (pool.pool, pool.accelerator, pool.provisioning.value), pool.gpus_per_node
    if pool.price_per_hour is not None:
        yield exported.NODE_PRICE, (pool.pool,), pool.price_per_hour
    for layer, lead in ((Layer.NODE, pool.node), (Layer.WORKER, pool.worker)):
        yield from _lead(pool.pool, layer, lead)


def _lead(pool: str, layer: Layer, lead: LeadTime) -> Iterator[Series]:
    for quantile, seconds in (("0.5", lead.p50_s), ("0.9", lead.p90_s), ("0.95", lead.p95_s)):
        yield exported.SUPPLY_LEAD, (pool, layer.value, quantile, lead.source.value), seconds


def _group(group: GroupSeen, target: GroupTarget | None) -> Iterator[Series]:
    counts = {
        "wanted": None if target is None else target.min_workers,
        "most": None if target is None else target.max_workers,
        "ready": group.ready,
        "starting": group.starting,
        "busy": group.busy,
        "pending": group.pending,
    }
    for state, count in counts.items():
        if count is not None:
            yield exported.WORKERS, (group.group, state), count


def _deployments(record: ClusterRecord) -> Iterator[Series]:
    unplaced = {(one.id, one.obstacle.value): one.replicas for one in record.plan.unplaced}
    for need in record.needs:
        names = (need.id.application, need.id.deployment)
        yield exported.LAYER_NEED, (*names, need.layer.value), need.replicas
    late = dict(record.plan.late)
    for name in sorted({need.id for need in record.needs}):
        yield exported.LATE_REPLICAS, (name.application, name.deployment), late.get(name, 0)
    for (name, obstacle), replicas in unplaced.items():
        yield exported.UNPLACED, (name.application, name.deployment, obstacle), replicas


def _supply(record: ClusterRecord) -> Iterator[Series]:
    orders = Counter((one.order.layer, one.order.key, one.status) for one in record.standings if one.status in _SHOWN)
    keys = {(Layer.NODE, pool.pool) for pool in record.pools} | {(Layer.WORKER, one.group) for one in record.groups}
    for layer, key in sorted(keys):
        for status in _SHOWN:
            yield exported.SUPPLY_ORDERS, (layer.value, key, status.value), orders[layer, key, status]
    for lead in record.leads:
        for leg in lead.legs:
            for quantile, seconds in (("0.5", leg.p50_s), ("0.9", leg.p90_s), ("0.95", leg.p95_s)):
                yield exported.SUPPLY_LEG, (lead.pool, lead.layer.value, leg.leg.value, quantile), seconds
