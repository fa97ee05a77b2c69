"""The kubelets of the simulated nodes: images are pulled, pods run and become ready, deleted ones end."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Json, Kube, rfc3339
from controller.simulated_cloud.view import View, leaving, over, ready


@dataclass
class Kubelets:
    """``image_s`` is what the first pull of a Ray image takes on a node; other images take ``small_s``."""

    kube: Kube
    clock: ScaledClock
    image_s: float = 60.0
    small_s: float = 2.0
    _seen: dict[str, float] = field(default_factory=dict)
    _images: dict[tuple[str, str], float] = field(default_factory=dict)
    _addresses: int = 0

    async def step(self, view: View) -> None:
        """Let pods go on. Raises ApiError."""
        now = self.clock.now()
        nodes = {node["metadata"]["name"]: node for node in view.nodes}
        for pod in view.pods:
            name = pod["spec"].get("nodeName")
            path = f"/api/v1/namespaces/{view.namespace}/pods/{pod['metadata']['name']}"
            if leaving(pod) or (name and name not in nodes):
                # Graceful ends take no time here; pods of nodes that are gone are the pod collector's.
                await self.kube.delete(path, grace_s=0)
            elif name and not over(pod) and ready(nodes[name]) and not ready(pod):
                await self._start(pod, path, name, now)

    async def _start(self, pod: Json, path: str, node: str, now: float) -> None:
        seen = self._seen.setdefault(pod["metadata"]["uid"], now)
        image = pod["spec"]["containers"][0]["image"]
        takes = self.image_s if "ray" in image else self.small_s
        there = self._images.setdefault((node, image), seen + takes)
        if now < max(there, seen + self.small_s):
            return
        self._addresses += 1
        at = rfc3339(now)
        statuses = [
            {
                "name": one["name"],
                "image": one["image"],
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": {"running": {"startedAt": at}},
            }
            for one in pod["spec"]["containers"]
        ]
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": at}
            for kind in ("Initialized", "Ready", "ContainersReady")
        ]
        scheduled = [one for one in pod["status"].get("conditions", ()) if one["type"] == "PodScheduled"]
        status = {
            "phase": "Running",
            "podIP": f"10.1.{self._addresses // 250}.{self._addresses % 250 + 1}",
            "startTime": at,
            "containerStatuses": statuses,
            "conditions": [*scheduled, *conditions],
        }
        await self.kube.merge(f"{path}/status", {"status": status})
