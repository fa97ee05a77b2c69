"""The whole simulated cloud on the real API server: GKE, machines, autoscalers, KubeRay, kubelets and Serve.

docs/simulated-cloud.md lists what it assumes and leaves out.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.cloud.autoscaler import ClusterAutoscaler
from tests.cloud.clock import ScaledClock
from tests.cloud.gke_api import GkeApi
from tests.cloud.kube import ApiError, Json, Kube, Server
from tests.cloud.kubelet import Kubelets
from tests.cloud.kuberay import Operator
from tests.cloud.machines import ACCELERATOR, GPU, Machines
from tests.cloud.pools import Pool
from tests.cloud.proxy import ApiProxy
from tests.cloud.ray_autoscaler import RayAutoscaler
from tests.cloud.serve import App, ServeOnWorkers
from tests.cloud.view import View, look, ready
from tests.serve_rest import ServeRestStandIn

CRDS = Path(__file__).parents[1] / "data" / "crds"
SERVICE = "chat"

_BELOW_WORKERS = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "foreserve-warm-capacity"},
    "value": -10,
}
"""As the manifests ship it; the controller is not allowed to make one."""


@dataclass(frozen=True)
class Group:
    """One worker group of the RayCluster."""

    name: str = "l4"
    gpus: int = 1
    accelerator: str = "nvidia-l4"
    least: int = 0
    most: int = 8


@dataclass
class SimulatedCloud:
    """Use as ``async with SimulatedCloud(pools=[...]) as cloud``. Names of pools get the world's name in front.

    Everything random is drawn by ``seed``. ``speed`` seconds pass in each real one; what the real API server,
    scheduler and controllers take is real time. ``step_s`` of the scaled clock pass between two looks.
    """

    pools: Sequence[Pool]
    groups: Sequence[Group] = (Group(),)
    apps: Sequence[App] = (App(),)
    speed: float = 30.0
    seed: int = 0
    step_s: float = 5.0
    image_s: float = 60.0
    start_s: float = 60.0
    operation_s: float = 30.0
    view: View | None = None
    steps: int = 0
    most: dict[str, int] = field(default_factory=dict)
    """Most machines of each pool at one time, those that leave left out."""
    began_with: dict[str, int] = field(default_factory=dict)
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)
    _running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.clock = ScaledClock(speed=self.speed)
        self.world = f"w{secrets.token_hex(3)}"
        for pool in self.pools:
            pool.name = f"{self.world}-{pool.name}"
        named = {pool.name: pool for pool in self.pools}
        server = Server.of_kubeconfig()
        session = await self._exits.enter_async_context(aiohttp.ClientSession())
        self.kube = Kube(server, session, "test")
        await self._prepare()
        self.gke = await self._exits.enter_async_context(GkeApi(self.clock, named, operation_s=self.operation_s))
        self.rest = await self._exits.enter_async_context(ServeRestStandIn())
        self.proxy = await self._exits.enter_async_context(ApiProxy(server, self.clock))
        self.machines = Machines(self.kube.named("gce"), self.clock, named, self.world, seed=self.seed)
        self.autoscaler = ClusterAutoscaler(self.kube.named("cluster-autoscaler"), self.clock, self.machines)
        self.kubelets = Kubelets(self.kube.named("kubelet"), self.clock, image_s=self.image_s)
        self.operator = Operator(self.kube.named("kuberay-operator"), self.clock)
        accelerators = {group.name: group.accelerator for group in self.groups}
        self.ray = RayAutoscaler(server, self.clock, self.world, accelerators)
        self.serve = ServeOnWorkers(self.rest, self.clock, self.apps, accelerators, start_s=self.start_s)
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._running is not None:
                failed = self._running.exception() if self._running.done() else None
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
                if failed is not None:
                    raise failed
        finally:
            await self._clear()
            await self._exits.aclose()

    # What people and the test do

    def pool(self, name: str) -> Pool:
        """A pool by the name that it was given."""
        return self.gke.pools[f"{self.world}-{name}"]

    async def deploy(self) -> None:
        """Create the RayService, and wait until its cluster serves."""
        await self.kube.create(f"/apis/ray.io/v1/namespaces/{self.world}/rayservices", self.ray_service())
        await self.until(lambda: self.active != "", 600.0)

    @property
    def active(self) -> str:
        """Name of the RayCluster that serves."""
        services = self.view.services if self.view else []
        status: Json = services[0].get("status", {}) if services else {}
        return str((status.get("activeServiceStatus") or {}).get("rayClusterName", ""))

    def begin_with(self, pool: str, nodes: int) -> None:
        """Have nodes at once, as if they had been ordered long ago."""
        name = self.pool(pool).name
        self.machines.add(name, nodes)
        self.began_with[name] = nodes

    async def ray_cluster(self) -> Json:
        return await self.kube.get(f"/apis/ray.io/v1/namespaces/{self.world}/rayclusters/{self.active}")

    async def set_group(self, name: str, **fields: Any) -> None:
        """Change a worker group of the live RayCluster, as somebody with kubectl would."""
        cluster = await self.ray_cluster()
        index = [group["groupName"] for group in cluster["spec"]["workerGroupSpecs"]].index(name)
        path = f"/apis/ray.io/v1/namespaces/{self.world}/rayclusters/{self.active}"
        await self.kube.patch(
            path,
            [
                {"op": "add", "path": f"/spec/workerGroupSpecs/{index}/{key}", "value": value}
                for key, value in fields.items()
            ],
        )

    async def until(self, seen: Callable[[], object], within_s: float, what: str = "") -> None:
        """Wait until something is so; at most ``within_s`` of the scaled clock, and five real seconds more."""
        end = self.clock.monotonic() + within_s + 5.0 * self.speed
        while not seen():
            self.check()
            if self.clock.monotonic() > end:
                msg = f"not so within {within_s:g} s: {what or seen}"
                raise AssertionError(msg)
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raise what went wrong in the simulated cloud."""
        if self._running is not None and self._running.done():
            self._running.result()

    def nodes(self, pool: str) -> int:
        """Ready nodes of a pool."""
        return sum(one.state == "ready" for one in self.machines.of(f"{self.world}-{pool}"))

    def ready_workers(self, group: str) -> int:
        """Ready workers of a group of the RayCluster that serves."""
        workers = self.view.workers(self.active) if self.view else []
        return sum(ready(pod) and pod["metadata"]["labels"]["ray.io/group"] == group for pod in workers)

    def ray_service(self) -> Json:
        """A RayService with the world's worker groups."""
        groups = [
            {
                "groupName": group.name,
                "replicas": group.least,
                "minReplicas": group.least,
                "maxReplicas": group.most,
                "rayStartParams": {},
                "template": {"spec": self._pod_spec(group)},
            }
            for group in self.groups
        ]
        head = {
            "nodeSelector": {"simulated-world": self.world, "role": "cpu"},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "ray-head", "image": "rayproject/ray-llm"}],
        }
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "metadata": {"name": SERVICE},
            "spec": {
                "serveConfigV2": "applications: []\n",
                "rayClusterConfig": {
                    "enableInTreeAutoscaling": True,
                    "headGroupSpec": {"rayStartParams": {}, "template": {"spec": head}},
                    "workerGroupSpecs": groups,
                },
            },
        }

    def _pod_spec(self, group: Group) -> Json:
        limits = {GPU: str(group.gpus), "cpu": "1"}
        return {
            "nodeSelector": {"simulated-world": self.world, ACCELERATOR: group.accelerator},
            "tolerations": [{"key": GPU, "operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "ray-worker",
                    "image": "rayproject/ray-llm",
                    "resources": {"limits": limits, "requests": limits},
                }
            ],
        }

    # How it runs

    async def _run(self) -> None:
        while True:
            try:
                with self.clock.at_most(2 * self.step_s):
                    await self._step()
            except ApiError as error:
                # Somebody was faster; the next look tells.
                if error.status not in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                    raise
            self.steps += 1
            await self.clock.sleep(self.step_s)

    async def _step(self) -> None:
        self.view = view = await look(self.kube, self.world)
        await self.machines.step()
        for name in self.gke.pools:
            self.most[name] = max(self.most.get(name, 0), len(self.machines.of(name)))
        await self.autoscaler.step(view)
        await self.kubelets.step(view)
        await self.operator.step(view)
        self.serve.step(view)
        await self.ray.step(view, self.serve.wants, self.serve.busy)

    async def _prepare(self) -> None:
        for file in sorted(CRDS.glob("*.json")):
            await self._unless_there(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json.loads(file.read_text())
            )
        await self._unless_there("/apis/scheduling.k8s.io/v1/priorityclasses", _BELOW_WORKERS)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.world}}
        await self.kube.create("/api/v1/namespaces", namespace)
        resources = {"cpu": "64", "memory": "256Gi", "pods": "110"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"{self.world}-cpu", "labels": {"simulated-world": self.world, "role": "cpu"}},
            "status": {
                "capacity": resources,
                "allocatable": resources,
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            },
        }
        await self.kube.create("/api/v1/nodes", node)
        async with asyncio.timeout(30):
            while not await self._served():  # noqa: ASYNC110 - nothing tells when a definition is served
                await asyncio.sleep(0.1)

    async def _served(self) -> bool:
        try:
            await look(self.kube, self.world)
        except (ApiError, aiohttp.ContentTypeError):
            return False
        return True

    async def _unless_there(self, path: str, body: Json) -> None:
        try:
            await self.kube.create(path, body)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise

    async def _clear(self) -> None:
        ray = f"/apis/ray.io/v1/namespaces/{self.world}"
        for kind in ("rayservices", "rayclusters"):
            for thing in await self.kube.list(f"{ray}/{kind}"):
                await self.kube.delete(f"{ray}/{kind}/{thing['metadata']['name']}")
        for kind in ("deployments", "replicasets"):
            path = f"/apis/apps/v1/namespaces/{self.world}/{kind}"
            for thing in await self.kube.list(path):
                await self.kube.delete(f"{path}/{thing['metadata']['name']}")
        for pod in await self.kube.list(f"/api/v1/namespaces/{self.world}/pods"):
            await self.kube.delete(f"/api/v1/namespaces/{self.world}/pods/{pod['metadata']['name']}", grace_s=0)
        for node in await self.kube.list("/api/v1/nodes", labelSelector=f"simulated-world={self.world}"):
            await self.kube.delete(f"/api/v1/nodes/{node['metadata']['name']}")
        await self.kube.delete(f"/api/v1/namespaces/{self.world}")
