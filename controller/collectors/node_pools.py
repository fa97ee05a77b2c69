"""GKE's account of the cluster's node pools, and its refusals of nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from controller.clients.gke import GkeClient
from controller.clients.gke_answer import OperationAnswer, PoolAnswer
from controller.collectors.refusals import refusal_kind, zone_named
from controller.domain.cluster import PoolsFound
from controller.domain.pools import VerdictKind
from controller.domain.supply import Refusal
from controller.errors import UnavailableError

RECENT_S = 3600.0
"""How long after its end an operation's failure is still told."""
REPEAT_S = 300.0
"""A condition that stands is told once more after the time for which a first refusal closes a pool."""

_FOR_NODES = {"SET_NODE_POOL_SIZE", "CREATE_NODE_POOL"}

_Standing = tuple[str, str]


class NodePoolReader:
    """Reads pools and operations of one cluster. Nothing is known of nodes and workers here.

    GKE's conditions have no time, so a refusal by one has the time at which it was first seen. The same failure
    told twice is the same fact.
    """

    def __init__(self, *, client: GkeClient) -> None:
        self._client = client
        self._since: dict[_Standing, float] = {}

    async def read(self, now: float) -> PoolsFound:
        """Read pools, the operation in flight, and refusals. What cannot be read is said in ``problems``."""
        pools, operations = await asyncio.gather(
            self._client.pools(), self._client.operations(), return_exceptions=True
        )
        for failure in (pools, operations):
            if isinstance(failure, BaseException) and not isinstance(failure, UnavailableError):
                raise failure
        problems = tuple(str(one) for one in (pools, operations) if isinstance(one, UnavailableError))
        known = () if isinstance(pools, BaseException) else pools
        listed = () if isinstance(operations, BaseException) else operations
        zones = {pool.found.name: pool.found.zones for pool in known}
        flying = _in_flight(listed)
        return PoolsFound(
            pools=None
            if isinstance(pools, BaseException)
            else tuple(replace(pool.found, operation=flying) for pool in known),
            events=(*self._standing(known, now), *_failed(listed, zones, now)),
            problems=problems,
        )

    async def close(self) -> None:
        """Nothing to release: the client belongs to the caller."""

    def _standing(self, pools: Iterable[PoolAnswer], now: float) -> Iterator[Refusal]:
        """Conditions that pools are in."""
        seen: set[_Standing] = set()
        for pool in pools:
            for condition in pool.conditions:
                kind = refusal_kind(condition.text)
                if kind is None:
                    continue
                key = (pool.found.name, condition.text)
                seen.add(key)
                first = self._since.setdefault(key, now)
                yield Refusal(
                    pool=pool.found.name,
                    at=first + (now - first) // REPEAT_S * REPEAT_S,
                    kind=kind,
                    detail=condition.text,
                    zone=zone_named(condition.text, pool.found.zones),
                )
        if pools:
            self._since = {key: since for key, since in self._since.items() if key in seen}


def _in_flight(operations: Iterable[OperationAnswer]) -> str | None:
    """Name the operation that is in flight on the cluster, the one that began first."""
    flying = [(one.started_at or 0.0, one.name) for one in operations if not one.done]
    return min(flying)[1] if flying else None


def _failed(
    operations: Iterable[OperationAnswer], zones: Mapping[str, tuple[str, ...]], now: float
) -> Iterator[Refusal]:
    """Operations that ended without the nodes they were to bring."""
    for one in operations:
        if one.pool is None or one.ended_at is None or now - one.ended_at > RECENT_S:
            continue
        for problem in one.problems:
            kind = refusal_kind(problem.text) or (VerdictKind.REFUSED if one.kind in _FOR_NODES else None)
            if kind is not None:
                zone = zone_named(problem.text, zones.get(one.pool, ()))
                yield Refusal(pool=one.pool, at=one.ended_at, kind=kind, detail=problem.text, zone=zone)
