"""Nodes and workers beneath the replicas, as the template needs them."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.cluster_record import ClusterRecord, GroupSeen, PoolSeen
from controller.domain.layer import Layer
from controller.domain.placement import GroupTarget, PoolTarget
from controller.domain.pools import PoolVerdict
from controller.domain.supply import Standing, SupplyStatus
from controller.explain.wording import number, plural

_OPEN = frozenset({SupplyStatus.PENDING, SupplyStatus.LATE, SupplyStatus.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One pool or worker group: units wanted, ready and on their way. ``trouble`` says what stands in the way."""

    layer: Layer
    name: str
    wanted: int | None
    ready: int | None
    coming: int
    most: int | None
    note: str
    trouble: str = ""


def layer_rows(cluster: ClusterRecord) -> list[LayerRow]:
    """Every node pool and then every worker group, in the order of the record."""
    pools = {target.pool: target for target in cluster.plan.pools}
    groups = {target.group: target for target in cluster.plan.groups}
    verdicts = {verdict.pool: verdict for verdict in cluster.verdicts}
    return [
        *(_pool(one, pools.get(one.pool), verdicts.get(one.pool)) for one in cluster.pools),
        *(_group(one, groups.get(one.group), cluster.frozen) for one in cluster.groups),
    ]


def open_orders(cluster: ClusterRecord) -> list[Standing]:
    """Orders of nodes and workers that have not arrived, the newest first."""
    found = [one for one in cluster.standings if one.status in _OPEN]
    return sorted(found, key=lambda one: one.order.ordered_at, reverse=True)


def cluster_troubles(cluster: ClusterRecord) -> list[str]:
    """What stands in the way, in sentences."""
    unplaced = [
        f"{one.id}: {plural(one.replicas, 'replica')} {'has' if one.replicas == 1 else 'have'} no place: {one.detail}"
        for one in cluster.plan.unplaced
    ]
    unseen = [f"nodes are not known: {cluster.unseen}"] if cluster.unseen else []
    return [*unseen, *unplaced]


def _pool(seen: PoolSeen, target: PoolTarget | None, verdict: PoolVerdict | None) -> LayerRow:
    price = "" if seen.price_per_hour is None else f", {number(seen.price_per_hour)} an hour"
    return LayerRow(
        layer=Layer.NODE,
        name=seen.pool,
        wanted=None if target is None else target.nodes,
        ready=seen.ready,
        coming=seen.coming + (seen.starting or 0),
        most=seen.most,
        note=f"{seen.gpus_per_node} {seen.accelerator} a node, {seen.provisioning.value.replace('_', ' ')}{price}",
        trouble="" if verdict is None else f"{verdict.kind.value.replace('_', ' ')}: {verdict.detail}",
    )


def _group(seen: GroupSeen, target: GroupTarget | None, frozen: str | None) -> LayerRow:
    return LayerRow(
        layer=Layer.WORKER,
        name=seen.group,
        wanted=seen.min_workers if target is None else target.min_workers,
        ready=seen.ready,
        coming=(seen.starting or 0) + (seen.pending or 0),
        most=seen.max_workers if target is None else target.max_workers,
        note=f"{seen.busy or 0} with replicas" + (f", {seen.pending} without a node" if seen.pending else ""),
        trouble=frozen or "",
    )
