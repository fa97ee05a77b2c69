"""One simulated cloud at a time, on an API server that is nobody else's: checked, claimed, and left as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from controller.errors import BadInputError
from controller.simulated_cloud.kube import ApiError, Json, Kube
from controller.simulated_cloud.world import NAMESPACES, clear, clear_cluster, remains, strangers, worlds

_ALIVE = "foreserve.dev/alive"
"""Annotation of a world's namespace that changes while somebody lives there."""

_BEAT_S = 1.0
_WATCH_S = 3.0
_GONE_S = 60.0
_PAUSE_S = 0.25
_NAMED = 6


async def require_vacant(kube: Kube) -> None:
    """Refuse an API server that is in use.

    Raises:
        BadInputError: there is something that is neither ours nor in every new cluster.
        ApiError: it cannot be read.

    """
    found = await strangers(kube)
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        msg = (
            f"the cluster at {kube.server.url} is in use: {', '.join(found[:_NAMED])}{more}. Nodes and definitions are "
            "made and removed there, so it must be an empty one: kind create cluster --kubeconfig kube.simulated"
        )
        raise BadInputError(msg)


async def sweep(kube: Kube) -> list[str]:
    """Remove the worlds of runs that were killed; returns their names.

    Raises:
        BadInputError: one of them lives.
        ApiError: something cannot be removed.

    """
    found = {
        world["metadata"]["name"]: world["metadata"].get("annotations", {}).get(_ALIVE) for world in await worlds(kube)
    }
    if found:
        await asyncio.sleep(_WATCH_S)
    for world in await worlds(kube):
        name = world["metadata"]["name"]
        if world["metadata"].get("annotations", {}).get(_ALIVE) != found.get(name):
            msg = f"another run is at work on {kube.server.url} (namespace {name}); end it, or take another cluster"
            raise BadInputError(msg)
    left = await take_away(kube)
    if left:
        msg = f"leftovers of a dead run cannot be removed from {kube.server.url}: {', '.join(left)}; delete them"
        raise BadInputError(msg)
    return sorted(found)


async def take_away(kube: Kube) -> list[str]:
    """Remove every world and what was made for the whole cluster; returns what is still there after a while.

    Raises ApiError, aiohttp.ClientError.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_GONE_S):
            while await remains(kube):
                for world in await worlds(kube):
                    await clear(kube, world["metadata"]["name"])
                await clear_cluster(kube)
                await asyncio.sleep(_PAUSE_S)
    return await remains(kube)


@asynccontextmanager
async def claimed(kube: Kube, world: str) -> AsyncIterator[None]:
    """Show meanwhile that somebody lives in a world, from when it is there."""
    beating = asyncio.create_task(_beat(kube, world))
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _beat(kube: Kube, world: str) -> None:
    beats = 0
    while True:
        beats += 1
        annotations: Json = {"metadata": {"annotations": {_ALIVE: str(beats)}}}
        with suppress(ApiError, aiohttp.ClientError):  # it is not there yet, or cannot be asked now
            await kube.merge(f"{NAMESPACES}/{world}", annotations)
        await asyncio.sleep(_BEAT_S)
