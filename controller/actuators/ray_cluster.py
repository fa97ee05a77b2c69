"""Sets how many workers Ray's autoscaler may and must run in a worker group, and nothing else.

The bounds are written where they take effect, the RayCluster that serves, and where the next one is made from, its
RayService. KubeRay's operator takes neither for a change of what runs, so no second cluster is started. ``replicas``
and ``workersToDelete`` belong to Ray's autoscaler, which undoes what others write there.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from controller.clients.kubernetes import Json, KubernetesClient, KubernetesRefusedError
from controller.clients.ray_clusters import LiveCluster, RayClusters
from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.errors import UnavailableError
from controller.ports import Clock, Leadership

LEVER = "ray_cluster"

_CHANGED = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.CONFLICT}
"""What the API server says to a patch whose tests fail, and to one that met another write."""
_ATTEMPTS = 3

_Result = tuple[OutcomeStatus, str]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Fewest and most workers; None where the object does not say."""

    least: int | None
    most: int | None

    def __str__(self) -> str:
        return f"{'unset' if self.least is None else self.least} to {'unset' if self.most is None else self.most}"


@dataclass(slots=True)
class _Tries:
    """How many patches were sent for one step."""

    count: int = 0


class RayClusterActuator:
    """The lever of the worker layer. Steps of different groups may be applied at the same time."""

    def __init__(self, *, client: KubernetesClient, ray: RayClusters, clock: Clock, leadership: Leadership) -> None:
        self._client = client
        self._leadership = leadership
        self._ray = ray
        self._clock = clock

    async def apply(self, step: LayerStep, found: ClusterFound) -> LayerOutcome:
        """Set a group's bounds and read them back. Failures are returned; only cancellation is raised."""
        started = self._clock.monotonic()
        tries = _Tries()
        try:
            status, detail = await self._outcome(step, found, tries)
        except KubernetesRefusedError as error:
            status, detail = OutcomeStatus.REFUSED, str(error)
        except UnavailableError as error:
            status, detail = OutcomeStatus.FAILED, str(error)
        # A mistake with one group must not keep the others from theirs.
        except Exception as error:  # noqa: BLE001
            status, detail = OutcomeStatus.FAILED, f"unexpected {type(error).__name__}: {error}"
        return LayerOutcome(
            layer=Layer.WORKER,
            name=step.name,
            status=status,
            lever=LEVER,
            detail=detail,
            attempts=tries.count,
            duration_s=self._clock.monotonic() - started,
        )

    async def close(self) -> None:
        """Nothing to release: the client belongs to the caller."""

    async def _outcome(self, step: LayerStep, found: ClusterFound, tries: _Tries) -> _Result:
        if objection := _objection(step, found):
            return OutcomeStatus.REFUSED, objection
        live = await self._ray.live()
        if objection := live.frozen or _not_heeded(live):
            return OutcomeStatus.REFUSED, objection
        now = _bounds(live.cluster, ("spec",), step.name)
        wanted = _wanted(step, now)
        if objection := _changed_since(step, found, now, wanted):
            return OutcomeStatus.REFUSED, objection
        # The next cluster's bounds first: what is missing there is written again as long as the live one differs.
        next_one = await self._set_next(live, step.name, wanted, tries)
        if now == wanted:
            return (OutcomeStatus.APPLIED if next_one else OutcomeStatus.NOTHING_TO_DO), next_one
        path = self._ray.cluster_path(live.name)
        reached = await self._set(path, ("spec",), step.name, wanted, tries, expected=now)
        if reached != wanted:
            return OutcomeStatus.FAILED, f"RayCluster {live.name} has {reached} after {wanted} was written"
        return OutcomeStatus.APPLIED, "; ".join(
            part for part in (f"{now} → {wanted} in RayCluster {live.name}", next_one) if part
        )

    async def _set_next(self, live: LiveCluster, group: str, wanted: _Bounds, tries: _Tries) -> str:
        """Write the bounds into the RayService; say what came of it, nothing when they were there."""
        if live.service is None:
            return ""
        name, where = live.service["metadata"]["name"], ("spec", "rayClusterConfig")
        if _group(live.service, where, group) is None:
            return f"RayService {name} has no group {group}, so its next cluster starts without"
        now = _bounds(live.service, where, group)
        if now == wanted:
            return ""
        try:
            await self._set(self._ray.service_path(name), where, group, wanted, tries, expected=now)
        except KubernetesRefusedError as error:
            return f"RayService {name} keeps {now} for its next cluster: {error}"
        return f"RayService {name} too"

    async def _set(
        self, path: str, where: tuple[str, ...], group: str, wanted: _Bounds, tries: _Tries, *, expected: _Bounds
    ) -> _Bounds:
        """Patch and read back. A group that moved in the list meanwhile is looked up again; changed bounds are not."""
        document = await self._client.get(path)
        for _ in range(_ATTEMPTS):
            now = _bounds(document, where, group)
            if now == wanted:  # an answer that was lost, or somebody of the same mind
                return now
            if now != expected:
                msg = f"{path}: group {group} was set to {now} meanwhile; it is planned for anew"
                raise KubernetesRefusedError(msg, status=HTTPStatus.CONFLICT)
            if not self._leadership.may_act():
                msg = f"this process does not lead: {self._leadership.standing}"
                raise KubernetesRefusedError(msg, status=HTTPStatus.CONFLICT)
            tries.count += 1
            try:
                await self._client.patch(path, _operations(document, where, group, wanted))
            except KubernetesRefusedError as error:
                if error.status not in _CHANGED:
                    raise
            document = await self._client.get(path)
        return _bounds(document, where, group)


def _objection(step: LayerStep, found: ClusterFound) -> str | None:
    if found.frozen is not None:
        return found.frozen
    if step.wanted < 0 or (step.most is not None and step.most < step.wanted):
        return f"{step.wanted} to {step.most} workers are no bounds"
    nodes = found.nodes or ()
    busy = sum(worker.group == step.name and bool(worker.occupants) for node in nodes for worker in node.workers)
    if step.most is not None and step.most < busy:
        return f"{busy} workers of {step.name} have replicas; at most {step.most} would stop some of them"
    return None


def _not_heeded(live: LiveCluster) -> str | None:
    if live.autoscaled:
        return None
    return (
        f"RayCluster {live.name} runs without Ray's autoscaler, so bounds change nothing; set enableInTreeAutoscaling"
    )


def _wanted(step: LayerStep, now: _Bounds) -> _Bounds:
    """Bounds to write; a step without an upper bound leaves that one, unless it is in the way."""
    most = now.most if step.most is None else step.most
    return _Bounds(step.wanted, most if most is None else max(most, step.wanted))


def _changed_since(step: LayerStep, found: ClusterFound, now: _Bounds, wanted: _Bounds) -> str | None:
    if now == wanted:
        return None
    planned_from = next((group.max_workers for group in found.groups or () if group.name == step.name), None)
    if (now.least or 0) != step.found or (planned_from is not None and now.most not in {None, planned_from}):
        return f"group {step.name} has {now} now, not what the plan was made from; it is planned for anew"
    return None


def _group(document: Json, where: tuple[str, ...], group: str) -> tuple[int, dict[str, Any]] | None:
    spec: Any = document
    for key in where:
        spec = spec.get(key) or {}
    groups = enumerate(spec.get("workerGroupSpecs") or ())
    return next(((index, one) for index, one in groups if one.get("groupName") == group), None)


def _bounds(document: Json, where: tuple[str, ...], group: str) -> _Bounds:
    found = _group(document, where, group)
    if found is None:
        kind, name = document.get("kind", "object"), document["metadata"]["name"]
        msg = f"{kind} {name} has no worker group {group}; correct cluster.worker_groups in the policy"
        raise KubernetesRefusedError(msg, status=HTTPStatus.NOT_FOUND)
    return _Bounds(found[1].get("minReplicas"), found[1].get("maxReplicas"))


def _operations(document: Json, where: tuple[str, ...], group: str, wanted: _Bounds) -> list[dict[str, Any]]:
    """Return a patch that takes effect only on this group with these bounds; the list has no keys to go by."""
    found = _group(document, where, group)
    if found is None:  # pragma: no cover - its bounds have just been read
        return []
    index, spec = found
    path = "/" + "/".join((*where, "workerGroupSpecs", str(index)))
    operations: list[dict[str, Any]] = [{"op": "test", "path": f"{path}/groupName", "value": group}]
    for key, value in (("minReplicas", wanted.least), ("maxReplicas", wanted.most)):
        if key in spec:
            operations.append({"op": "test", "path": f"{path}/{key}", "value": spec[key]})
        if value is not None and spec.get(key) != value:
            operations.append({"op": "add", "path": f"{path}/{key}", "value": value})
    return operations
