"""Ray Serve on the simulated cluster: its REST API, and replicas that start on ready workers.

A replica takes all its GPUs on one worker, as STRICT_PACK does. One without room waits, and Ray's autoscaler is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.domain.identity import DeploymentId
from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Json
from controller.simulated_cloud.ray_autoscaler import Want
from controller.simulated_cloud.serve_rest import CHAT, ServeRest
from controller.simulated_cloud.view import View, gpus_of, ready


@dataclass(frozen=True)
class App:
    """One deployment: GPUs of a replica, their kind, and how many replicas there are to begin with.

    ``start_s`` is from a worker to a ready replica; None: as for all.
    """

    id: DeploymentId = CHAT
    gpus: int = 1
    accelerator: str = "nvidia-l4"
    replicas: int = 0
    start_s: float | None = None


@dataclass
class ServeOnWorkers:
    """Keeps the stand-in's replicas in step with the workers. ``start_s`` is from a worker to a ready replica."""

    rest: ServeRest
    clock: ScaledClock
    apps: Sequence[App]
    accelerators: Mapping[str, str]
    start_s: float = 60.0
    drain_s: float = 10.0
    _placed: dict[str, tuple[str, float]] = field(default_factory=dict)
    _stopping: dict[str, float] = field(default_factory=dict)
    became_ready: list[tuple[float, DeploymentId, str]] = field(default_factory=list)
    lost: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for app in self.apps:
            self.rest.set_target(app.replicas, app.id)

    def step(self, view: View) -> None:
        """Let replicas find workers, become ready, and go."""
        now = self.clock.now()
        pods = {pod["metadata"]["name"]: pod for pod in view.pods if ready(pod)}
        for app in self.apps:
            replicas = self._live(app)["replicas"]
            for replica in list(replicas):
                self._settle(app, replica, replicas, pods, now)
            self._replace(app)
        for app in self.apps:
            for replica in self._live(app)["replicas"]:
                if replica["state"] == "STARTING" and replica["replica_id"] not in self._placed:
                    self._place(app, replica, pods, now)

    @property
    def busy(self) -> dict[str, int]:
        """GPUs in use on each worker pod, by its name."""
        used: dict[str, int] = {}
        for app in self.apps:
            for replica in self._live(app)["replicas"]:
                if (place := self._placed.get(replica["replica_id"])) is not None:
                    used[place[0]] = used.get(place[0], 0) + app.gpus
        return used

    @property
    def wants(self) -> list[Want]:
        """Replicas that no worker has room for."""
        return [
            Want(app.gpus, app.accelerator)
            for app in self.apps
            for replica in self._live(app)["replicas"]
            if replica["state"] == "STARTING" and replica["replica_id"] not in self._placed
        ]

    def running(self, app: DeploymentId = CHAT) -> int:
        """Replicas that run."""
        return sum(replica["state"] == "RUNNING" for replica in self.rest.deployment(app)["replicas"])

    def _live(self, app: App) -> Json:
        return self.rest.deployment(app.id)

    def _settle(self, app: App, replica: Json, replicas: list[Json], pods: Mapping[str, Json], now: float) -> None:
        name = replica["replica_id"]
        place = self._placed.get(name)
        if place is None:
            replica.update(node_id=None, node_ip=None)
            replica.setdefault("seen_s", now)
            replica["start_time_s"] = replica["seen_s"]
        if place is not None and place[0] not in pods:
            # Its worker is gone, and so is it; Serve starts another.
            self.lost.append((now, name))
            replicas.remove(replica)
            del self._placed[name]
        elif replica["state"] == "STOPPING":
            if now - self._stopping.setdefault(name, now) >= self.drain_s or place is None:
                replicas.remove(replica)
                self._placed.pop(name, None)
        elif replica["state"] == "STARTING" and place is not None and now >= place[1]:
            replica["state"] = "RUNNING"
            self.became_ready.append((now, app.id, name))

    def _replace(self, app: App) -> None:
        live = self._live(app)
        if sum(replica["state"] != "STOPPING" for replica in live["replicas"]) < live["target_num_replicas"]:
            self.rest.set_target(live["target_num_replicas"], app.id)

    def _place(self, app: App, replica: Json, pods: Mapping[str, Json], now: float) -> None:
        busy = self.busy
        for name, pod in sorted(pods.items()):
            group = pod["metadata"].get("labels", {}).get("ray.io/group", "")
            fits = gpus_of(pod) - busy.get(name, 0) >= app.gpus
            if self.accelerators.get(group) == app.accelerator and fits:
                starts = self.start_s if app.start_s is None else app.start_s
                self._placed[replica["replica_id"]] = (name, now + starts)
                replica.update(node_id=pod["metadata"]["uid"], node_ip=pod["status"]["podIP"])
                return
