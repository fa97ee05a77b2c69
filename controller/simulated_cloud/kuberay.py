"""KubeRay's operator: RayService to RayCluster to pods, by its hash and ownership rules (v1.7.0).

The cluster that a RayService prepares takes over once its head and its least workers run. What of the spec makes a
new cluster, and what does not, is in ``config_hash``.
"""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
from dataclasses import dataclass, field

from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Json, Kube, rfc3339
from controller.simulated_cloud.view import View, leaving, ready

HASH = "ray.io/hash-without-replicas-and-workers-to-delete"


def config_hash(config: Json) -> str:
    """Hash a rayClusterConfig without what may change in place."""
    kept = copy.deepcopy(config)
    kept.pop("upgradeStrategy", None)
    for group in kept.get("workerGroupSpecs", ()):
        for key in ("replicas", "minReplicas", "maxReplicas", "scaleStrategy"):
            group.pop(key, None)
        for key in ("tolerations", "schedulingGates"):
            group.get("template", {}).get("spec", {}).pop(key, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:20]


@dataclass
class Operator:
    """``serve_s`` is what Serve takes to be up on a cluster whose pods run; the old one is kept for ``keep_s`` more."""

    kube: Kube
    clock: ScaledClock
    serve_s: float = 10.0
    keep_s: float = 60.0
    clusters_made: list[str] = field(default_factory=list)
    _up: dict[str, float] = field(default_factory=dict)
    _old: dict[str, float] = field(default_factory=dict)

    async def step(self, view: View) -> None:
        """Bring services, clusters and pods together once. Raises ApiError."""
        clusters = {cluster["metadata"]["name"]: cluster for cluster in view.clusters}
        for service in view.services:
            if not leaving(service):
                await self._service(view, service, clusters)
        for cluster in clusters.values():
            if not leaving(cluster):
                await self._cluster(view, cluster)
        for name, since in list(self._old.items()):
            if self.clock.now() - since >= self.keep_s:
                del self._old[name]
                await self._delete(view, name)

    async def _service(self, view: View, service: Json, clusters: dict[str, Json]) -> None:
        status = service.get("status") or {}
        active = (status.get("activeServiceStatus") or {}).get("rayClusterName", "")
        pending = (status.get("pendingServiceStatus") or {}).get("rayClusterName", "")
        wanted = config_hash(service["spec"]["rayClusterConfig"])
        if pending:
            if pending in clusters and self._serves(view, clusters[pending]):
                if active:
                    self._old[active] = self.clock.now()
                await self._set_status(view, service, active=pending, pending="")
            return
        live = clusters.get(active)
        if live is None or live["metadata"].get("annotations", {}).get(HASH) != wanted:
            name = await self._make(view, service, wanted)
            await self._set_status(view, service, active=active, pending=name)

    def _serves(self, view: View, cluster: Json) -> bool:
        name = cluster["metadata"]["name"]
        pods = [pod for pod in view.pods if pod["metadata"].get("labels", {}).get("ray.io/cluster") == name]
        least = 1 + sum(group.get("minReplicas", 0) for group in cluster["spec"]["workerGroupSpecs"])
        if sum(ready(pod) for pod in pods) < least:
            return False
        return self.clock.now() - self._up.setdefault(name, self.clock.now()) >= self.serve_s

    async def _make(self, view: View, service: Json, wanted: str) -> str:
        name = f"{service['metadata']['name']}-{secrets.token_hex(3)}"
        spec = copy.deepcopy(service["spec"]["rayClusterConfig"])
        for group in spec["workerGroupSpecs"]:
            group.setdefault("scaleStrategy", {})
            group.setdefault("replicas", group.get("minReplicas", 0))
        owner = {
            "apiVersion": "ray.io/v1",
            "kind": "RayService",
            "name": service["metadata"]["name"],
            "uid": service["metadata"]["uid"],
            "controller": True,
        }
        body = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": name, "annotations": {HASH: wanted}, "ownerReferences": [owner]},
            "spec": spec,
        }
        await self.kube.create(f"/apis/ray.io/v1/namespaces/{view.namespace}/rayclusters", body)
        self.clusters_made.append(name)
        return name

    async def _set_status(self, view: View, service: Json, *, active: str, pending: str) -> None:
        now = rfc3339(self.clock.now())
        name = service["metadata"]["name"]
        ready_now, upgrading = bool(active), bool(active and pending)
        conditions = [
            {
                "type": kind,
                "status": "True" if true else "False",
                "reason": kind,
                "message": "",
                "lastTransitionTime": now,
            }
            for kind, true in (("Ready", ready_now), ("UpgradeInProgress", upgrading))
        ]
        status = {
            "activeServiceStatus": {"rayClusterName": active} if active else {},
            "pendingServiceStatus": {"rayClusterName": pending} if pending else None,
            "conditions": conditions,
            "observedGeneration": service["metadata"]["generation"],
        }
        path = f"/apis/ray.io/v1/namespaces/{view.namespace}/rayservices/{name}/status"
        await self.kube.merge(path, {"status": status})

    async def _cluster(self, view: View, cluster: Json) -> None:
        name = cluster["metadata"]["name"]
        heads = [
            pod
            for pod in view.pods
            if pod["metadata"].get("labels", {}).get("ray.io/cluster") == name
            and pod["metadata"]["labels"].get("ray.io/node-type") == "head"
        ]
        if not heads:
            await self._pod(view, cluster, cluster["spec"]["headGroupSpec"]["template"], "headgroup", "head")
        workers = view.workers(name)
        for group in cluster["spec"].get("workerGroupSpecs", ()):
            await self._group(view, cluster, group, workers)

    async def _group(self, view: View, cluster: Json, group: Json, workers: list[Json]) -> None:
        """Delete the workers named, then make those that lack. With Ray's autoscaler none is deleted unnamed."""
        there = [pod for pod in workers if pod["metadata"]["labels"]["ray.io/group"] == group["groupName"]]
        named = set((group.get("scaleStrategy") or {}).get("workersToDelete") or ())
        for pod in [pod for pod in there if pod["metadata"]["name"] in named]:
            await self.kube.delete(f"/api/v1/namespaces/{view.namespace}/pods/{pod['metadata']['name']}")
            there.remove(pod)
        least, most = group.get("minReplicas") or 0, group.get("maxReplicas", 2**31 - 1)
        wanted = min(max(group.get("replicas") or 0, least), most)
        for _ in range(wanted - len(there)):
            await self._pod(view, cluster, group["template"], group["groupName"], "worker")

    async def _pod(self, view: View, cluster: Json, template: Json, group: str, kind: str) -> None:
        name = cluster["metadata"]["name"]
        owner = {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "name": name,
            "uid": cluster["metadata"]["uid"],
            "controller": True,
        }
        labels = {
            **template.get("metadata", {}).get("labels", {}),
            "ray.io/cluster": name,
            "ray.io/group": group,
            "ray.io/node-type": kind,
            "ray.io/is-ray-node": "yes",
        }
        suffix = "head" if kind == "head" else f"{group}-worker"
        metadata = {
            **template.get("metadata", {}),
            "name": f"{name}-{suffix}-{secrets.token_hex(3)}",
            "labels": labels,
            "ownerReferences": [owner],
        }
        spec = {"restartPolicy": "Never", **template["spec"]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self.kube.create(f"/api/v1/namespaces/{view.namespace}/pods", body)

    async def _delete(self, view: View, name: str) -> None:
        await self.kube.delete(f"/apis/ray.io/v1/namespaces/{view.namespace}/rayclusters/{name}")
        for pod in view.pods:
            if pod["metadata"].get("labels", {}).get("ray.io/cluster") == name:
                await self.kube.delete(f"/api/v1/namespaces/{view.namespace}/pods/{pod['metadata']['name']}")
