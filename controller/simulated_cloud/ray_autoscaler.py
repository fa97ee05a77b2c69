"""Ray's autoscaler: Ray's own KubeRayProvider moves the RayCluster, a simple rule says how far.

The rule is that of Ray's: at least ``minReplicas``; a worker for each replica that no worker has room for; an idle
worker above the minimum goes after ``idle_s``. All writes are made by Ray's code.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Json, Server
from controller.simulated_cloud.view import View, gpus_of, leaving, ready

WHO = "ray-autoscaler"


class RayClient:
    """What KubeRayProvider reads and patches with, under the autoscaler's name. Blocking."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server = server
        self._base = {
            "rayclusters": f"/apis/ray.io/v1/namespaces/{namespace}/",
            "pods": f"/api/v1/namespaces/{namespace}/",
        }

    def get(self, path: str) -> dict[str, Any]:
        """Read. Raises urllib.error.HTTPError."""
        return self._call("GET", path, None, "application/json")

    def patch(
        self, path: str, payload: list[dict[str, Any]], content_type: str = "application/json-patch+json"
    ) -> dict[str, Any]:
        """Patch. Raises urllib.error.HTTPError."""
        return self._call("PATCH", path, payload, content_type)

    def _call(self, method: str, path: str, payload: Any, content_type: str) -> dict[str, Any]:
        base = next(base for name, base in self._base.items() if path.startswith(name))
        request = urllib.request.Request(  # noqa: S310 - the address of the kubeconfig
            self._server.url + base + path,
            method=method,
            data=None if payload is None else json.dumps(payload).encode(),
            headers={**self._server.headers, "User-Agent": f"{WHO}/1.0", "Content-Type": content_type},
        )
        tls = self._server.tls if self._server.url.startswith("https") else None
        with urllib.request.urlopen(request, context=tls) as answer:  # noqa: S310 - as above
            found: dict[str, Any] = json.loads(answer.read())
            return found


@dataclass(frozen=True)
class Want:
    """One replica without a worker: so many GPUs together, of this kind."""

    gpus: int
    accelerator: str


@dataclass
class RayAutoscaler:
    """``accelerators`` says what each worker group's pods have."""

    server: Server
    clock: ScaledClock
    namespace: str
    accelerators: Mapping[str, str]
    idle_s: float = 60.0
    every_s: float = 5.0
    errors: list[str] = field(default_factory=list)
    _providers: dict[str, Any] = field(default_factory=dict)
    _idle: dict[str, float] = field(default_factory=dict)
    _looked: float = 0.0

    async def step(self, view: View, wants: Sequence[Want], busy: Mapping[str, int]) -> None:
        """Scale every RayCluster. ``busy`` has the GPUs in use on each worker pod, by its name."""
        now = self.clock.now()
        if now - self._looked < self.every_s:
            return
        self._looked = now
        active = _active(view)
        for cluster in view.clusters:
            if leaving(cluster):
                continue
            mine = wants if cluster["metadata"]["name"] in active else ()
            launch, idle = self._decide(view, cluster, mine, busy, now)
            if launch or idle:
                await asyncio.to_thread(self._submit, cluster["metadata"]["name"], launch, idle)

    def _decide(
        self, view: View, cluster: Json, wants: Sequence[Want], busy: Mapping[str, int], now: float
    ) -> tuple[dict[str, int], list[str]]:
        launch: dict[str, int] = {}
        idle: list[str] = []
        workers = view.workers(cluster["metadata"]["name"])
        left = list(wants)
        for group in cluster["spec"].get("workerGroupSpecs", ()):
            name = group["groupName"]
            there = [pod for pod in workers if pod["metadata"]["labels"]["ray.io/group"] == name]
            size = gpus_of(group["template"])
            room = [size - busy.get(pod["metadata"]["name"], 0) for pod in there]
            least, most = group.get("minReplicas") or 0, group.get("maxReplicas", 2**31 - 1)
            coming = max(len(there), min(group.get("replicas") or 0, most))
            room += [size] * (max(coming, least) - len(there))
            for want in [one for one in left if one.accelerator == self.accelerators.get(name) and one.gpus <= size]:
                place = next((index for index, free in enumerate(room) if free >= want.gpus), None)
                if place is None and len(room) < most:
                    room.append(size)
                    place = len(room) - 1
                if place is not None:
                    room[place] -= want.gpus
                    left.remove(want)
            if len(room) > coming:
                launch[name] = len(room) - coming
            spare = [
                pod
                for pod, free in zip(there, room, strict=False)
                if free == size and ready(pod) and self._rested(pod, busy, now)
            ]
            idle += [pod["metadata"]["name"] for pod in spare[: max(0, len(there) - least)]]
        return launch, idle

    def _rested(self, pod: Json, busy: Mapping[str, int], now: float) -> bool:
        name = pod["metadata"]["name"]
        if busy.get(name):
            self._idle.pop(name, None)
            return False
        return now - self._idle.setdefault(name, now) >= self.idle_s

    def _submit(self, cluster: str, launch: dict[str, int], idle: list[str]) -> None:
        try:
            provider = self._provider(cluster)
            provider.get_non_terminated()
            if idle:
                provider.terminate(idle, secrets.token_hex(8))
            if launch:
                provider.launch(launch, secrets.token_hex(8))
        except urllib.error.HTTPError as error:
            self.errors.append(str(error))
            return
        self.errors += [str(error) for error in provider.poll_errors()]

    def _provider(self, cluster: str) -> Any:
        if cluster not in self._providers:
            from ray.autoscaler.v2.instance_manager.cloud_providers.kuberay import cloud_provider  # noqa: PLC0415

            logging.getLogger(cloud_provider.__name__).setLevel(logging.CRITICAL)
            self._providers[cluster] = cloud_provider.KubeRayProvider(
                cluster, {"namespace": self.namespace}, None, RayClient(self.server, self.namespace)
            )
        return self._providers[cluster]


def _active(view: View) -> set[str]:
    """RayClusters that serve: those of RayServices in force, and those without a RayService."""
    served = {
        (service.get("status", {}).get("activeServiceStatus") or {}).get("rayClusterName", "")
        for service in view.services
    }
    alone = {cluster["metadata"]["name"] for cluster in view.clusters if not cluster["metadata"].get("ownerReferences")}
    return served | alone
