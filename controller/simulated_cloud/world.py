"""What a simulated cloud puts on an API server besides its workload, and how all of it is found and taken away again.

A world is a namespace with a label; the nodes of it carry the same label. Definitions and the priority class belong to
the whole cluster: those that were made for a world that had the cluster to itself are labelled too, and go with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from controller.simulated_cloud.kube import ApiError, Json, Kube
from controller.simulated_cloud.view import WORLD, look

CRDS = Path(__file__).parent / "crds"
WARM_CAPACITY = "foreserve-warm-capacity"

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
NAMESPACES = "/api/v1/namespaces"
NODES = "/api/v1/nodes"

_BELOW_WORKERS = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": WARM_CAPACITY},
    "value": -10,
}
"""As the manifests ship it; the controller is not allowed to make one."""

_OF_EVERY_CLUSTER = {"default", "kube-system", "kube-public", "kube-node-lease"}
_OF_KIND = {"local-path-storage"}
_KIND = "kind://"
_SERVED_S = 30.0
_ACCOUNT_S = 5.0
_PAUSE_S = 0.1


async def prepare(kube: Kube, world: str, *, alone: bool) -> None:
    """Make a world with one node without GPUs. ``alone``: what is made for the whole cluster is labelled as its own.

    Raises ApiError, also when the definitions are not served soon.
    """
    of_world = {WORLD: world}
    for file in sorted(CRDS.glob("*.json")):
        await _unless_there(kube, DEFINITIONS, json.loads(file.read_text()), of_world if alone else {})
    await _unless_there(kube, PRIORITIES, _BELOW_WORKERS, of_world if alone else {})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world, "labels": of_world}}
    await kube.create(NAMESPACES, namespace)
    resources = {"cpu": "64", "memory": "256Gi", "pods": "110"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"{world}-cpu", "labels": {**of_world, "role": "cpu"}},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }
    await kube.create(NODES, node)
    # API servers hold new nodes to be not ready until a controller looks, which is not everywhere there.
    await kube.merge(f"{NODES}/{world}-cpu", {"spec": {"taints": None}})
    for _ in range(round(_SERVED_S / _PAUSE_S)):
        if await _served(kube, world):
            break
        await asyncio.sleep(_PAUSE_S)
    else:
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, f"the definitions are not served after {_SERVED_S:g} s")
    await _account(kube, world)


async def clear(kube: Kube, world: str) -> None:
    """Delete a world's workload, nodes and namespace. What is gone already is fine. Raises ApiError."""
    ray = f"/apis/ray.io/v1/namespaces/{world}"
    apps = f"/apis/apps/v1/namespaces/{world}"
    for path in (f"{ray}/rayservices", f"{ray}/rayclusters", f"{apps}/deployments", f"{apps}/replicasets"):
        for name in await _names(kube, path):
            await kube.delete(f"{path}/{name}")
    pods = f"{NAMESPACES}/{world}/pods"
    for name in await _names(kube, pods):
        await kube.delete(f"{pods}/{name}", grace_s=0)
    for name in await _names(kube, NODES, labelSelector=f"{WORLD}={world}"):
        await kube.delete(f"{NODES}/{name}")
    await kube.delete(f"{NAMESPACES}/{world}")


async def clear_cluster(kube: Kube) -> None:
    """Delete what was made for the whole cluster. Raises ApiError."""
    for path in (DEFINITIONS, PRIORITIES):
        for name in await _names(kube, path, labelSelector=WORLD):
            await kube.delete(f"{path}/{name}")


async def remains(kube: Kube) -> list[str]:
    """Name everything with a world's label that is still there, as ``nodes/w1-cpu``. Raises ApiError."""
    return [
        f"{path.rsplit('/', 1)[1]}/{name}"
        for path in (NAMESPACES, NODES, DEFINITIONS, PRIORITIES)
        for name in await _names(kube, path, labelSelector=WORLD)
    ]


async def worlds(kube: Kube) -> list[Json]:
    """Return the namespaces that are worlds. Raises ApiError."""
    return await kube.list(NAMESPACES, labelSelector=WORLD)


async def strangers(kube: Kube) -> list[str]:
    """Name what a fresh cluster would not have: nodes, namespaces, and pods in ``default``. Raises ApiError."""
    nodes = [node for node in await kube.list(NODES) if not _ours(node) and not _of_kind(node)]
    usual = _OF_EVERY_CLUSTER | _OF_KIND
    spaces = [
        space
        for space in await kube.list(NAMESPACES)
        if not _ours(space) and space["metadata"]["name"] not in usual and space["status"]["phase"] != "Terminating"
    ]
    pods = await kube.list(f"{NAMESPACES}/default/pods")
    return [
        f"{kind} {thing['metadata']['name']}"
        for kind, things in (("node", nodes), ("namespace", spaces), ("pod", pods))
        for thing in things
    ]


def _ours(thing: Json) -> bool:
    return WORLD in thing["metadata"].get("labels", {})


def _of_kind(node: Json) -> bool:
    """Whether a node is a container of kind's, on somebody's own machine."""
    return str(node["spec"].get("providerID", "")).startswith(_KIND)


async def _names(kube: Kube, path: str, **query: str) -> Iterable[str]:
    """Names of a collection's objects; none where there is no such collection."""
    try:
        return [thing["metadata"]["name"] for thing in await kube.list(path, **query)]
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return ()


async def _served(kube: Kube, world: str) -> bool:
    try:
        await look(kube, world)
    except ApiError:
        return False
    return True


async def _account(kube: Kube, world: str) -> None:
    """Wait for the account that pods run as; without it an API server may refuse them."""
    for _ in range(round(_ACCOUNT_S / _PAUSE_S)):
        if await kube.find(f"{NAMESPACES}/{world}/serviceaccounts/default") is not None:
            return
        await asyncio.sleep(_PAUSE_S)


async def _unless_there(kube: Kube, path: str, body: Json, labels: dict[str, str]) -> None:
    metadata = {**body["metadata"], "labels": {**body["metadata"].get("labels", {}), **labels}}
    try:
        await kube.create(path, {**body, "metadata": metadata})
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
