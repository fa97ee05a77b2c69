"""What the parts of the simulated cloud see of the API server at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from controller.simulated_cloud.kube import ApiError, Json, Kube

GPU = "nvidia.com/gpu"
WORLD = "foreserve.dev/simulated-cloud"
"""Label of everything that belongs to a simulated cloud, with the name of its namespace."""


@dataclass
class View:
    """Pods of the world's namespace, its nodes, and its custom objects."""

    namespace: str
    pods: list[Json]
    nodes: list[Json]
    services: list[Json] = field(default_factory=list)
    clusters: list[Json] = field(default_factory=list)
    buffers: list[Json] = field(default_factory=list)

    @cached_property
    def by_node(self) -> dict[str, list[Json]]:
        """Pods that are not over, by the node that they are on."""
        found: dict[str, list[Json]] = {}
        for pod in self.pods:
            if (name := pod["spec"].get("nodeName")) and not over(pod):
                found.setdefault(name, []).append(pod)
        return found

    def workers(self, cluster: str) -> list[Json]:
        """Worker pods of a RayCluster, those that are being deleted left out."""
        return [
            pod
            for pod in self.pods
            if pod["metadata"].get("labels", {}).get("ray.io/cluster") == cluster
            and pod["metadata"]["labels"].get("ray.io/node-type") == "worker"
            and not leaving(pod)
            and not over(pod)
        ]


async def look(kube: Kube, namespace: str) -> View:
    """Read all that is there now. Raises ApiError."""
    ray = f"/apis/ray.io/v1/namespaces/{namespace}"
    return View(
        namespace=namespace,
        pods=await kube.list(f"/api/v1/namespaces/{namespace}/pods"),
        nodes=await kube.list("/api/v1/nodes", labelSelector=f"{WORLD}={namespace}"),
        services=await kube.list(f"{ray}/rayservices"),
        clusters=await kube.list(f"{ray}/rayclusters"),
        buffers=await _buffers(kube, namespace),
    )


async def _buffers(kube: Kube, namespace: str) -> list[Json]:
    try:
        return await kube.list(f"/apis/autoscaling.x-k8s.io/v1beta1/namespaces/{namespace}/capacitybuffers")
    except ApiError:
        return []


def ready(thing: Json) -> bool:
    """Whether a pod or a node is ready."""
    return condition(thing, "Ready").get("status") == "True"


def condition(thing: Json, kind: str) -> Json:
    """Return a condition of an object; empty when it has none of this kind."""
    found: Iterable[Json] = thing.get("status", {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})


def leaving(thing: Json) -> bool:
    """Whether an object is being deleted."""
    return "deletionTimestamp" in thing["metadata"]


def over(pod: Json) -> bool:
    """Whether a pod has ended by itself."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def gpus_of(pod_or_template: Json) -> int:
    """GPUs that a pod asks for."""
    containers = pod_or_template["spec"]["containers"]
    return sum(int(one.get("resources", {}).get("limits", {}).get(GPU, 0)) for one in containers)


def admits(pod_spec: Json, labels: dict[str, str], taints: Iterable[Json]) -> bool:
    """Whether a pod may be on a node with these labels and taints: selector, required affinity, tolerations."""
    selector: dict[str, str] = pod_spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    if terms and not any(all(_matches(rule, labels) for rule in term.get("matchExpressions", ())) for term in terms):
        return False
    tolerations = pod_spec.get("tolerations") or []
    hard = [taint for taint in taints if taint["effect"] in {"NoSchedule", "NoExecute"}]
    return all(any(_tolerates(one, taint) for one in tolerations) for taint in hard)


def _matches(rule: Json, labels: dict[str, str]) -> bool:
    value = labels.get(rule["key"])
    match rule["operator"]:
        case "In":
            return value in rule["values"]
        case "NotIn":
            return value not in rule["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"]) and toleration.get("value", "") == taint.get("value", "")
