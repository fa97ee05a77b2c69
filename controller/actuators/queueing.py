"""What to queue for and what to withdraw, so that a pool comes to so many nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.clients.queued_nodes import Queued
from controller.domain.cluster import ClusterFound
from controller.domain.nodes import NodeState

_SEEN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """``ask`` for so many nodes more, as request ``number``; ``withdraw`` some requests, and ``forget`` failed ones."""

    ask: int
    number: int
    withdraw: tuple[Queued, ...] = ()
    forget: tuple[Queued, ...] = ()


def queueing(wanted: int, pool: str, requests: Iterable[Queued], *, found: ClusterFound) -> Queueing | None:
    """Count what is there and what is queued for once, and close the gap; None while it is not known what is there.

    A request comes whole or not at all, so only one that is not needed in any part is withdrawn, the latest first.
    One that failed is forgotten once it was seen in ``found``; one that was granted is left to the platform.
    """
    if found.nodes is None:
        return None
    mine = [one for one in requests if one.pool == pool]
    waiting = [one for one in mine if not one.over]
    present = sum(node.pool == pool and node.state is not NodeState.DRAINING for node in found.nodes)
    missing = wanted - present - sum(one.nodes for one in waiting)
    withdraw = []
    for one in sorted(waiting, key=lambda one: -one.number):
        if one.nodes <= -missing:
            missing += one.nodes
            withdraw.append(one)
    number = max((one.number for one in mine), default=0) + 1
    forget = tuple(one for one in mine if one.failed and one.over_at is not None and one.over_at < found.at - _SEEN_S)
    return Queueing(ask=max(0, missing), number=number, withdraw=tuple(withdraw), forget=forget)
