"""Finds the RayCluster that serves now, and says when it must be left alone. KubeRay's ``ray.io/v1`` only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.clients.kubernetes import Json, KubernetesClient
from controller.errors import UnavailableError

SERVICE_SETTING = "FORESERVE_RAY_SERVICE"
CLUSTER_SETTING = "FORESERVE_RAY_CLUSTER"
NAMESPACE_SETTING = "FORESERVE_NAMESPACE"

_UNDER_WAY = ("UpgradeInProgress", "RollbackInProgress", "Suspending", "Suspended")


class NoRayClusterError(UnavailableError):
    """No RayCluster serves now, or it is not said which; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCluster:
    """A RayCluster as read, and the RayService that made it, where there is one.

    ``frozen`` says why neither must be touched now.
    """

    cluster: Json
    service: Json | None
    frozen: str | None

    @property
    def name(self) -> str:
        """Name of the RayCluster."""
        return str(self.cluster["metadata"]["name"])

    @property
    def autoscaled(self) -> bool:
        """Whether Ray's autoscaler runs in it; without it nobody heeds a worker group's bounds."""
        return self.cluster.get("spec", {}).get("enableInTreeAutoscaling") is True


@dataclass(frozen=True, slots=True, kw_only=True)
class RayClusters:
    """Where to look: a RayService or a RayCluster by name, or else the only one in the namespace."""

    client: KubernetesClient
    namespace: str
    service: str | None = None
    cluster: str | None = None

    async def live(self) -> LiveCluster:
        """Read the RayCluster that serves now.

        Raises:
            NoRayClusterError: there is none, or it is not clear which.
            UnavailableError: the API server gives no answer, or refuses.

        """
        if self.cluster is not None:
            return await self._by_name(self.cluster)
        service = await self._service()
        if service is None:
            return await self._only_cluster()
        name = _text(service, "status", "activeServiceStatus", "rayClusterName")
        if not name:
            msg = f"RayService {self._named(service)} has no active RayCluster yet; it has one when its pods run"
            raise NoRayClusterError(msg)
        cluster = await self.client.find(self.cluster_path(name))
        if cluster is None:
            msg = f"RayService {self._named(service)} names {name} as its active RayCluster, which does not exist"
            raise NoRayClusterError(msg)
        return LiveCluster(cluster=cluster, service=service, frozen=frozen(cluster, service))

    def cluster_path(self, name: str) -> str:
        """Path of a RayCluster."""
        return f"{self._base}/rayclusters/{name}"

    def service_path(self, name: str) -> str:
        """Path of a RayService."""
        return f"{self._base}/rayservices/{name}"

    @property
    def _base(self) -> str:
        return f"/apis/ray.io/v1/namespaces/{self.namespace}"

    async def _by_name(self, name: str) -> LiveCluster:
        cluster = await self.client.find(self.cluster_path(name))
        if cluster is None:
            msg = f"there is no RayCluster {name} in {self.namespace}; correct {CLUSTER_SETTING}"
            raise NoRayClusterError(msg)
        return LiveCluster(cluster=cluster, service=None, frozen=frozen(cluster, None))

    async def _service(self) -> Json | None:
        if self.service is not None:
            service = await self.client.find(self.service_path(self.service))
            if service is None:
                msg = f"there is no RayService {self.service} in {self.namespace}; correct {SERVICE_SETTING}"
                raise NoRayClusterError(msg)
            return service
        return await self._only("rayservices", "RayService", SERVICE_SETTING)

    async def _only_cluster(self) -> LiveCluster:
        cluster = await self._only("rayclusters", "RayCluster", CLUSTER_SETTING)
        if cluster is None:
            msg = (
                f"there is no RayService and no RayCluster in {self.namespace}; create one, or set {NAMESPACE_SETTING}"
            )
            raise NoRayClusterError(msg)
        return LiveCluster(cluster=cluster, service=None, frozen=frozen(cluster, None))

    async def _only(self, kind: str, what: str, setting: str) -> Json | None:
        found = (await self.client.list(f"{self._base}/{kind}", most=50)).items
        if len(found) > 1:
            names = ", ".join(str(one["metadata"]["name"]) for one in found)
            msg = f"there are several of the kind {what} in {self.namespace} ({names}); name one with {setting}"
            raise NoRayClusterError(msg)
        return found[0] if found else None

    def _named(self, service: Json) -> str:
        return f"{self.namespace}/{service['metadata']['name']}"


def frozen(cluster: Mapping[str, Any], service: Mapping[str, Any] | None) -> str | None:
    """Say why the worker groups must not be touched now; None when they may be.

    While a RayService changes clusters its operator leaves the active one alone, and what is written to it then is
    lost or, worse, rolled back to.
    """
    if service is not None and (reason := _service_frozen(service)):
        return reason
    name = cluster["metadata"]["name"]
    if cluster["metadata"].get("deletionTimestamp"):
        return f"RayCluster {name} is being deleted"
    if cluster.get("spec", {}).get("suspend"):
        return f"RayCluster {name} is suspended"
    return None


def _service_frozen(service: Mapping[str, Any]) -> str | None:
    name, status = service["metadata"]["name"], service.get("status") or {}
    if service["metadata"].get("deletionTimestamp"):
        return f"RayService {name} is being deleted"
    for condition in status.get("conditions") or ():
        if condition.get("type") in _UNDER_WAY and condition.get("status") == "True":
            return f"RayService {name}: {condition['type']} ({condition.get('message') or 'no message'})"
    pending = _text(service, "status", "pendingServiceStatus", "rayClusterName")
    if pending:
        return f"RayService {name} prepares another RayCluster, {pending}"
    return None


def _text(thing: Mapping[str, Any], *path: str) -> str:
    value: Any = thing
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""
