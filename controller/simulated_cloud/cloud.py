"""The whole simulated cloud on the real API server: GKE, machines, autoscalers, KubeRay, kubelets and Serve.

docs/simulated-cloud.md lists what it assumes and leaves out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import aiohttp

from controller.errors import ForeserveError
from controller.policy.cluster import GkePolicy
from controller.simulated_cloud.autoscaler import ClusterAutoscaler
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.gke_api import CLUSTER, GkeApi
from controller.simulated_cloud.kube import ApiError, Json, Kube, Server, rfc3339
from controller.simulated_cloud.kubelet import Kubelets
from controller.simulated_cloud.kuberay import Operator
from controller.simulated_cloud.machines import ACCELERATOR, POOL, Machines
from controller.simulated_cloud.pools import Pool
from controller.simulated_cloud.proxy import ApiProxy
from controller.simulated_cloud.ray_autoscaler import RayAutoscaler
from controller.simulated_cloud.serve import App, ServeOnWorkers
from controller.simulated_cloud.serve_rest import ServeRest, document_of
from controller.simulated_cloud.view import GPU, WORLD, View, look, ready
from controller.simulated_cloud.world import NODES, clear, prepare

SERVICE = "chat"

_BEAT_S = 10.0
"""Real seconds between two signs of life of a kubelet; without them a cluster takes a node for dead."""


class StuckError(ForeserveError):
    """Something did not happen in the simulated cloud in its time."""


@dataclass(frozen=True)
class Group:
    """One worker group of the RayCluster."""

    name: str = "l4"
    gpus: int = 1
    accelerator: str = "nvidia-l4"
    least: int = 0
    most: int = 8
    pools: tuple[str, ...] = ()
    """Pools that its pods may be on; none: every pool of its accelerator."""


@dataclass
class SimulatedCloud:
    """Use as ``async with SimulatedCloud(pools=[...]) as cloud``. Names of pools get the world's name in front.

    Everything random is drawn by ``seed``. ``speed`` seconds pass in each real one; what the real API server,
    scheduler and controllers take is real time. ``step_s`` of the scaled clock pass between two looks.

    ``alone`` names the world of a cloud that has the API server to itself: pools keep their names, and what is made
    for the whole cluster is labelled, for ``world.clear_cluster``. Otherwise several clouds may share one API server.
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
    alone: str | None = None
    where: GkePolicy = CLUSTER
    view: View | None = None
    steps: int = 0
    most: dict[str, int] = field(default_factory=dict)
    """Most machines of each pool at one time, those that leave left out."""
    began_with: dict[str, int] = field(default_factory=dict)
    _exits: AsyncExitStack = field(default_factory=AsyncExitStack)
    _running: asyncio.Task[None] | None = None
    _beaten: float = 0.0

    async def __aenter__(self) -> Self:
        self.clock = ScaledClock(speed=self.speed)
        self.world = self.alone or f"w{secrets.token_hex(3)}"
        for pool in self.pools:
            pool.name = self._named(pool.name)
        named = {pool.name: pool for pool in self.pools}
        server = await Server.of_kubeconfig()
        session = await self._exits.enter_async_context(aiohttp.ClientSession())
        self.kube = Kube(server, session, "simulated-cloud")
        await prepare(self.kube, self.world, alone=self.alone is not None)
        self.gke = await self._exits.enter_async_context(
            GkeApi(self.clock, named, operation_s=self.operation_s, cluster=self.where)
        )
        document = document_of([app.id for app in self.apps], at=self.clock.now())
        self.rest = await self._exits.enter_async_context(ServeRest(document))
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
            await clear(self.kube, self.world)
            await self._exits.aclose()

    # What people do

    def pool(self, name: str) -> Pool:
        """A pool by the name that it was given."""
        return self.gke.pools[self._named(name)]

    async def deploy(self) -> None:
        """Create the RayService, and wait until its cluster serves."""
        await self.kube.create(f"/apis/ray.io/v1/namespaces/{self.world}/rayservices", self.ray_service())
        await self.until(lambda: self.active != "", 600.0, "the RayService serves")

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
        self.began_with[name] = self.began_with.get(name, 0) + nodes

    async def ray_cluster(self) -> Json:
        """Read the RayCluster that serves. Raises ApiError."""
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
        """Wait until something is so; at most ``within_s`` of the scaled clock, and five real seconds more.

        Raises StuckError, and what went wrong in the cloud.
        """
        end = self.clock.monotonic() + within_s + 5.0 * self.speed
        while not seen():
            self.check()
            if self.clock.monotonic() > end:
                msg = f"not so within {within_s:g} s: {what or seen}"
                raise StuckError(msg)
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raise what went wrong in the simulated cloud."""
        if self._running is not None and self._running.done():
            self._running.result()

    def nodes(self, pool: str) -> int:
        """Ready nodes of a pool."""
        return sum(one.state == "ready" for one in self.machines.of(self._named(pool)))

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
            "nodeSelector": {WORLD: self.world, "role": "cpu"},
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
            "nodeSelector": {WORLD: self.world, ACCELERATOR: group.accelerator},
            **self._affinity(group),
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

    def _affinity(self, group: Group) -> Json:
        if not group.pools:
            return {}
        rule = {"key": POOL, "operator": "In", "values": [self._named(pool) for pool in group.pools]}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
        return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}

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
        await self._beat(view)
        await self.machines.step()
        for name in self.gke.pools:
            self.most[name] = max(self.most.get(name, 0), len(self.machines.of(name)))
        await self.autoscaler.step(view)
        await self.kubelets.step(view)
        await self.operator.step(view)
        self.serve.step(view)
        await self.ray.step(view, self.serve.wants, self.serve.busy)

    async def _beat(self, view: View) -> None:
        """Let every kubelet say that it lives, as the node controller of a real cluster asks for."""
        real = self.clock.real.monotonic()
        if real - self._beaten < _BEAT_S:
            return
        self._beaten = real
        now = rfc3339(self.clock.now())
        for node in view.nodes:
            conditions = [one | {"lastHeartbeatTime": now} for one in node["status"].get("conditions", ())]
            path = f"{NODES}/{node['metadata']['name']}/status"
            await self.kube.named("kubelet").merge(path, {"status": {"conditions": conditions}})

    def _named(self, pool: str) -> str:
        return pool if self.alone is not None else f"{self.world}-{pool}"
