"""A namespace of its own on a real API server, and the objects that others would put there."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any

from controller.clients.kubernetes import KubernetesClient, KubernetesRefusedError, Timing
from controller.clients.kubernetes_config import connection
from controller.clients.ray_clusters import RayClusters
from controller.clock import SystemClock
from controller.simulated_cloud.world import CRDS

POOL_LABEL = "cloud.google.com/gke-nodepool"
ZONE_LABEL = "topology.kubernetes.io/zone"
GPU = "nvidia.com/gpu"
HERE = "KUBECONFIG is not set; point it at a cluster for tests (see CONTRIBUTING.md)"

Json = dict[str, Any]


def available() -> bool:
    """Whether there is a cluster for tests."""
    return bool(os.environ.get("KUBECONFIG"))


def timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    """One namespace, with its own pools; everything that is made here is removed with it."""

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self._made: list[str] = []

    @property
    def ray(self) -> RayClusters:
        return RayClusters(client=self.client, namespace=self.namespace)

    def pool(self, name: str) -> str:
        """Return a pool's name that no other test uses."""
        return f"{self.namespace}-{name}"

    async def make(self, collection: str, body: Json) -> Json:
        """Create an object, its status included."""
        made = await self.client.create(collection, body)
        path = f"{collection}/{made['metadata']['name']}"
        if "/namespaces/" not in collection:
            self._made.append(path)
        if "status" in body:
            return await self.set_status(path, body["status"])
        return made

    async def set_status(self, path: str, status: Json) -> Json:
        current = await self.client.get(path)
        return await self.client.replace(f"{path}/status", {**current, "status": status})

    async def node(self, name: str, *, pool: str, gpus: int = 1, ready: bool = True, **changes: Any) -> Json:
        now = changes.pop("at", SystemClock().now())
        resources = {"cpu": "16", "memory": "64Gi", "pods": "110"} | ({GPU: str(gpus)} if gpus else {})
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"{self.namespace}-{name}",
                "labels": {POOL_LABEL: self.pool(pool), ZONE_LABEL: "a", **changes.pop("labels", {})},
            },
            "spec": {"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}], **changes},
            "status": {
                "capacity": resources,
                "allocatable": resources,
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True" if ready else "False",
                        "reason": "KubeletReady" if ready else "KubeletNotReady",
                        "lastTransitionTime": timestamp(now),
                        "lastHeartbeatTime": timestamp(now),
                    }
                ],
            },
        }
        return await self.make("/api/v1/nodes", body)

    async def pod(self, name: str, *, gpus: int = 1, labels: Json | None = None, **spec: Any) -> Json:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels or {}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "tolerations": [{"key": GPU, "operator": "Exists"}],
                "containers": [{"name": "main", "image": "ray", "resources": {"limits": {GPU: str(gpus)}}}],
                **spec,
            },
        }
        return await self.make(f"/api/v1/namespaces/{self.namespace}/pods", body)

    async def worker(self, name: str, *, cluster: str = "chat-live", group: str = "l4", **spec: Any) -> Json:
        labels = {"ray.io/cluster": cluster, "ray.io/group": group, "ray.io/node-type": "worker"}
        return await self.pod(name, labels=labels, **spec)

    async def ray_cluster(self, name: str = "chat-live", **changes: Any) -> Json:
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayclusters"
        body = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": ray_cluster_spec(**changes),
        }
        return await self.make(path, body)

    async def ray_service(self, name: str = "chat", *, active: str = "chat-live", **changes: Any) -> Json:
        status = changes.pop("status", {})
        path = f"/apis/ray.io/v1/namespaces/{self.namespace}/rayservices"
        body = {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"serveConfigV2": "applications: []\n", "rayClusterConfig": ray_cluster_spec(**changes)},
            "status": {"activeServiceStatus": {"rayClusterName": active}, "observedGeneration": 1, **status},
        }
        return await self.make(path, body)

    async def event(self, pod: str, reason: str, message: str, *, at: float) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{pod}.{secrets.token_hex(4)}", "namespace": self.namespace},
            "involvedObject": {"kind": "Pod", "namespace": self.namespace, "name": pod},
            "reason": reason,
            "message": message,
            "type": "Warning",
            "firstTimestamp": timestamp(at),
            "lastTimestamp": timestamp(at),
        }
        await self.client.create(f"/api/v1/namespaces/{self.namespace}/events", body)

    def owned(self, *paths: str) -> None:
        """Have these removed too in the end."""
        self._made.extend(paths)

    async def until(self, seen: Callable[[], Any], *, within_s: float = 20.0) -> Any:
        """Ask again until the answer is true."""
        async with asyncio.timeout(within_s):
            while not (answer := await seen()):  # noqa: ASYNC110 - nothing tells when another process is done
                await asyncio.sleep(0.2)
        return answer

    async def clear(self) -> None:
        for path in self._made:
            await remove(self.client, path)
        pods = await self.client.list(f"/api/v1/namespaces/{self.namespace}/pods")
        for pod in pods.items:
            await remove(self.client, f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}")
        await remove(self.client, f"/api/v1/namespaces/{self.namespace}")


async def remove(client: KubernetesClient, path: str) -> None:
    found = await client.find(path)
    if found is not None:
        await client.delete(path, uid=found["metadata"]["uid"])


def worker_group(name: str = "l4", *, gpus: int = 1, least: int = 0, most: int = 4, **changes: Any) -> Json:
    limits = {GPU: str(gpus)}
    return {
        "groupName": name,
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": most,
        "scaleStrategy": {},
        "rayStartParams": {},
        "template": {"spec": {"containers": [{"name": "worker", "image": "ray", "resources": {"limits": limits}}]}},
        **changes,
    }


def ray_cluster_spec(*, groups: tuple[Json, ...] | None = None, **changes: Any) -> Json:
    return {
        "enableInTreeAutoscaling": True,
        "headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "h", "image": "ray"}]}}},
        "workerGroupSpecs": list(groups if groups is not None else (worker_group(),)),
        **changes,
    }


def new_client(**timing: Any) -> KubernetesClient:
    return KubernetesClient(
        connection(), clock=SystemClock(), rng=random.Random(1), timing=Timing(**timing) if timing else None
    )


@cache
def definitions() -> tuple[Json, ...]:
    return tuple(json.loads(file.read_text()) for file in sorted(CRDS.glob("*.json")))


def client_with(token: str) -> KubernetesClient:
    """The same server, as whoever the token belongs to."""
    admin = connection()

    async def load() -> Any:
        configuration = await admin.load()
        configuration.refresh_api_key_hook = None
        configuration.api_key = {"BearerToken": f"Bearer {token}"}
        return configuration

    theirs = replace(admin, load=load)
    return KubernetesClient(theirs, clock=SystemClock(), rng=random.Random(1))


async def load_crds(client: KubernetesClient) -> None:
    """Load the custom resource definitions that are not there, and wait until they are served."""
    for body in definitions():
        try:
            await client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        except KubernetesRefusedError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
    async with asyncio.timeout(30):
        while not all([await _served(client, body) for body in definitions()]):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


async def _served(client: KubernetesClient, body: Json) -> bool:
    version = next(version["name"] for version in body["spec"]["versions"] if version["storage"])
    return await client.find(f"/apis/{body['spec']['group']}/{version}/{body['spec']['names']['plural']}") is not None


@asynccontextmanager
async def fresh_namespace() -> AsyncIterator[Cluster]:
    client = new_client()
    await load_crds(client)
    name = f"t{secrets.token_hex(4)}"
    await client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster = Cluster(client, name)
    try:
        yield cluster
    finally:
        await cluster.clear()
        await client.close()
