"""How many more nodes a pool may have, and what stands in the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.domain.nodes import Node
from controller.domain.placement import Obstacle
from controller.domain.pools import NodePool, PoolStatus, PoolVerdict, VerdictKind, ZoneBounds

_CLOSED = (PoolStatus.STOPPING, PoolStatus.ERROR)
_OBSTACLES = {
    VerdictKind.STOCKED_OUT: Obstacle.STOCKED_OUT,
    VerdictKind.QUOTA: Obstacle.QUOTA,
    VerdictKind.LATE: Obstacle.LATE,
    VerdictKind.REFUSED: Obstacle.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Headroom:
    """Nodes that may be added to ``pool`` now. ``obstacle`` and ``detail`` say what ends it there."""

    pool: str
    nodes: int
    obstacle: Obstacle
    detail: str


def headroom(
    pool: NodePool, nodes: Sequence[Node], coming: int, verdicts: Iterable[PoolVerdict], *, now: float
) -> Headroom:
    """Count the nodes that may be added to a pool beyond those that exist and are coming.

    A verdict on the pool closes it until its time has come, one on a zone closes that zone. Nodes that are
    coming are in no zone yet: they are taken off the whole.
    """
    if pool.status in _CLOSED:
        return Headroom(pool.name, 0, Obstacle.POOL_STATUS, f"{pool.name}: is {pool.status.value}")
    standing = sorted(
        (verdict for verdict in verdicts if verdict.pool == pool.name and verdict.until > now),
        key=lambda verdict: (verdict.zone is not None, -verdict.until, verdict.kind, verdict.detail),
    )
    closed = {verdict.zone for verdict in standing if verdict.zone is not None}
    zones = [zone for zone in pool.zones if zone not in closed]
    if standing and (standing[0].zone is None or not zones):
        return _refused(pool, standing[0], now)
    present = Counter(node.zone for node in nodes if node.pool == pool.name)
    total = sum(present.values())
    more = pool.max_nodes - total
    if isinstance(pool.bounds, ZoneBounds):
        most = pool.bounds.max_nodes_per_zone
        more = min(more, sum(max(0, most - present[zone]) for zone in zones))
    at_most = f"{pool.name}: at most {pool.max_nodes} nodes, {total} there and {coming} coming"
    if closed:
        at_most += f", none in {', '.join(sorted(closed))}"
    return Headroom(pool.name, max(0, more - coming), Obstacle.POOL_AT_MAX, at_most)


def _refused(pool: NodePool, verdict: PoolVerdict, now: float) -> Headroom:
    words = verdict.kind.value.replace("_", " ")
    detail = f"{pool.name}: {words} ({verdict.detail}), not asked again for {verdict.until - now:.0f} s"
    return Headroom(pool.name, 0, _OBSTACLES[verdict.kind], detail)
