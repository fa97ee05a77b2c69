"""Reads and writes what keeps nodes warm, whichever of the two kinds it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from controller.clients.kubernetes import Json, KubernetesClient, KubernetesRefusedError
from controller.clients.queued_nodes import QueuedNodes
from controller.clients.warm_objects import (
    WARM_LABEL,
    WarmLever,
    WarmShape,
    balloon,
    buffer_template,
    capacity_buffer,
    digest_of,
    is_ours,
    name_of_pool,
)
from controller.policy.cluster import WarmCapacity
from controller.ports import Clock

_BUFFERS = "/apis/autoscaling.x-k8s.io/v1beta1"
_KNOWN_S = 300.0
_NO_SUCH_KIND = {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """What keeps a pool warm: so many nodes of this shape; ``trouble`` says why it does not, where it does not.

    ``settled``: no more pods are there, or are made again, than it asks for.
    """

    lever: WarmLever
    pool: str
    nodes: int
    digest: str | None
    uid: str
    trouble: str = ""
    settled: bool = True


class WarmCapacityStore:
    """Balloons and CapacityBuffers in one namespace. Only what carries this controller's labels is touched."""

    def __init__(self, *, client: KubernetesClient, namespace: str, clock: Clock) -> None:
        self.queued = QueuedNodes(client=client, namespace=namespace)
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._buffers: tuple[float, bool] | None = None

    async def lever(self, choice: WarmCapacity) -> WarmLever | None:
        """Choose the lever, by what the cluster has where that is not said. None: none. Raises UnavailableError."""
        match choice:
            case WarmCapacity.OFF:
                return None
            case WarmCapacity.BALLOON:
                return WarmLever.BALLOON
            case WarmCapacity.CAPACITY_BUFFER:
                return WarmLever.CAPACITY_BUFFER
            case WarmCapacity.AUTO:
                return WarmLever.CAPACITY_BUFFER if await self._has_buffers() else WarmLever.BALLOON

    async def read(self) -> tuple[Warm, ...]:
        """Read all there is, sorted by pool. Raises UnavailableError."""
        balloons, buffers = await asyncio.gather(
            self._client.list(self._path(WarmLever.BALLOON), labels=WARM_LABEL),
            self._listed_buffers(),
        )
        found = [_warm(WarmLever.BALLOON, one) for one in balloons.items]
        found += [_warm(WarmLever.CAPACITY_BUFFER, one) for one in buffers]
        return tuple(sorted(found, key=lambda one: (one.pool, one.lever)))

    async def find(self, lever: WarmLever, pool: str) -> Warm | None:
        """Read one. Raises UnavailableError, also when something of that name is not ours."""
        thing = await self._client.find(f"{self._path(lever)}/{name_of_pool(pool)}")
        if thing is None:
            return None
        if not is_ours(thing, pool):
            msg = f"{thing.get('kind', lever)} {self._namespace}/{name_of_pool(pool)} was not made here; rename it"
            raise KubernetesRefusedError(msg, status=HTTPStatus.CONFLICT)
        return _warm(lever, thing)

    async def write(self, lever: WarmLever, shape: WarmShape, nodes: int) -> Warm:
        """Make it so many nodes of this shape, and return what the server has then. Raises UnavailableError."""
        name = name_of_pool(shape.pool)
        if lever is WarmLever.BALLOON:
            body = balloon(shape, namespace=self._namespace, nodes=nodes)
        else:
            template = buffer_template(shape, namespace=self._namespace)
            await self._client.apply(f"/api/v1/namespaces/{self._namespace}/podtemplates/{name}", template, force=True)
            body = capacity_buffer(shape, namespace=self._namespace, nodes=nodes)
        written = await self._client.apply(f"{self._path(lever)}/{name}", body, force=True)
        return _warm(lever, written)

    async def remove(self, warm: Warm) -> None:
        """Remove one that was read. Raises UnavailableError."""
        await self._client.delete(f"{self._path(warm.lever)}/{name_of_pool(warm.pool)}", uid=warm.uid)

    @staticmethod
    def digest(lever: WarmLever, shape: WarmShape) -> str | None:
        """Digest that something of this shape has."""
        build = balloon if lever is WarmLever.BALLOON else capacity_buffer
        return digest_of(build(shape, namespace="", nodes=0))

    def _path(self, lever: WarmLever) -> str:
        if lever is WarmLever.BALLOON:
            return f"/apis/apps/v1/namespaces/{self._namespace}/deployments"
        return f"{_BUFFERS}/namespaces/{self._namespace}/capacitybuffers"

    async def _listed_buffers(self) -> tuple[Json, ...]:
        if not await self._has_buffers():
            return ()
        return (await self._client.list(self._path(WarmLever.CAPACITY_BUFFER), labels=WARM_LABEL)).items

    async def _has_buffers(self) -> bool:
        """Whether the API server serves CapacityBuffers; asked every few minutes, for clusters are upgraded."""
        now = self._clock.monotonic()
        if self._buffers is None or now - self._buffers[0] > _KNOWN_S:
            group = await self._client.find(_BUFFERS) or {}
            served = any(one.get("name") == "capacitybuffers" for one in group.get("resources") or ())
            self._buffers = (now, served)
        return self._buffers[1]


def _warm(lever: WarmLever, thing: Mapping[str, Any]) -> Warm:
    return Warm(
        lever=lever,
        pool=str(thing["metadata"]["labels"][WARM_LABEL]),
        nodes=int(thing["spec"].get("replicas") or 0),
        digest=digest_of(thing),
        uid=str(thing["metadata"]["uid"]),
        trouble=_trouble(lever, thing),
        settled=lever is not WarmLever.BALLOON or _settled(thing),
    )


def _settled(deployment: Mapping[str, Any]) -> bool:
    status = deployment.get("status") or {}
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen and status.get("replicas", 0) <= (deployment["spec"].get("replicas") or 0))


def _trouble(lever: WarmLever, thing: Mapping[str, Any]) -> str:
    """Say in the platform's words why it makes no pods, or is not provided for."""
    bad = ("ReplicaFailure", "True") if lever is WarmLever.BALLOON else ("ReadyForProvisioning", "False")
    for condition in (thing.get("status") or {}).get("conditions") or ():
        if (condition.get("type"), condition.get("status")) == bad:
            return f"{condition['type']}: {condition.get('message') or condition.get('reason') or 'no reason given'}"
    return ""
