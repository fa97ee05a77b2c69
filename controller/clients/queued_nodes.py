"""Nodes that are queued for: GKE's ProvisioningRequests, all of one's nodes or none, whenever there is capacity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.clients.kubernetes import KubernetesClient
from controller.clients.warm_objects import WARM_LABEL, WarmShape, buffer_template, is_ours, name_of_pool, owned_labels

_GROUP = "/apis/autoscaling.x-k8s.io/v1"
_CLASS = "queued-provisioning.gke.io"
_OVER = ("Failed", "CapacityRevoked", "BookingExpired", "Provisioned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """One request. ``over`` is the condition that ended it, empty while it waits; ``over_at`` when (Unix seconds)."""

    name: str
    pool: str
    nodes: int
    number: int
    uid: str
    over: str = ""
    message: str = ""
    over_at: float | None = None

    @property
    def failed(self) -> bool:
        """Whether no nodes come of it, or none any more."""
        return self.over in {"Failed", "CapacityRevoked", "BookingExpired"}


class QueuedNodes:
    """ProvisioningRequests in one namespace that carry this controller's labels."""

    def __init__(self, *, client: KubernetesClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._requests = f"{_GROUP}/namespaces/{namespace}/provisioningrequests"

    async def read(self) -> tuple[Queued, ...]:
        """Read all requests, the oldest first. Raises UnavailableError."""
        listing = await self._client.list(self._requests, labels=WARM_LABEL)
        found = (_queued(one) for one in listing.items)
        return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.pool, one.number)))

    async def ask(self, shape: WarmShape, *, nodes: int, number: int) -> Queued | None:
        """Queue for so many nodes more; ``number`` keeps one that was asked for twice the same (409).

        Raises UnavailableError.
        """
        template = buffer_template(shape, namespace=self._namespace)
        name = name_of_pool(shape.pool)
        await self._client.apply(f"/api/v1/namespaces/{self._namespace}/podtemplates/{name}", template, force=True)
        body = {
            "apiVersion": "autoscaling.x-k8s.io/v1",
            "kind": "ProvisioningRequest",
            "metadata": {
                "name": f"{name}-{number}",
                "namespace": self._namespace,
                "labels": owned_labels(shape.pool),
            },
            "spec": {
                "provisioningClassName": _CLASS,
                "podSets": [{"podTemplateRef": {"name": name}, "count": nodes}],
            },
        }
        return _queued(await self._client.create(self._requests, body))

    async def withdraw(self, queued: Queued) -> None:
        """Take a request back. Raises UnavailableError."""
        await self._client.delete(f"{self._requests}/{queued.name}", uid=queued.uid)


def _moment(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None


def _queued(thing: Mapping[str, Any]) -> Queued | None:
    metadata = thing["metadata"]
    pool = str((metadata.get("labels") or {}).get(WARM_LABEL) or "")
    number = str(metadata["name"]).removeprefix(f"{name_of_pool(pool)}-")
    if not is_ours(thing, pool) or not number.isdigit():
        return None
    ended: Mapping[str, Any] = next(
        (
            condition
            for kind in _OVER
            for condition in (thing.get("status") or {}).get("conditions") or ()
            if condition.get("type") == kind and condition.get("status") == "True"
        ),
        {},
    )
    return Queued(
        name=str(metadata["name"]),
        pool=pool,
        nodes=sum(int(one["count"]) for one in thing["spec"]["podSets"]),
        number=int(number),
        uid=str(metadata["uid"]),
        over=str(ended.get("type") or ""),
        message=str(ended.get("message") or ended.get("reason") or ""),
        over_at=_moment(ended.get("lastTransitionTime")),
    )
