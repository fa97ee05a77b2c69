"""GKE's cluster autoscaler: pending pods and capacity buffers make groups larger, empty nodes make them smaller.

Its constants are the upstream ones; texts of events are those of its source. What it leaves out is listed in
docs/simulated-cloud.md.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import dataclass, field

from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Json, Kube, rfc3339
from controller.simulated_cloud.machines import ACCELERATOR, POOL, ZONE, Failed, Machine, Machines, State
from controller.simulated_cloud.pools import Pool
from controller.simulated_cloud.view import WORLD, View, admits, condition, gpus_of, leaving

DELETING = "ToBeDeletedByClusterAutoscaler"

_GROUPS = "https://www.googleapis.com/compute/v1/projects/simulated/zones"
_CAUSES = {"ZONE_RESOURCE_POOL_EXHAUSTED": "GCE out of resources", "QUOTA_EXCEEDED": "GCE quota exceeded"}


@dataclass
class _Place:
    """Room on a node that is there, comes, or is about to be ordered."""

    labels: dict[str, str]
    taints: list[Json]
    free: int
    machine: Machine | None = None


@dataclass
class _Backoff:
    until: float
    seconds: float


@dataclass
class ClusterAutoscaler:
    """One scan each ``scan_s``. Of pools that fit, the first in the order given is taken that is not in back-off."""

    kube: Kube
    clock: ScaledClock
    machines: Machines
    scan_s: float = 10.0
    unneeded_s: float = 600.0
    after_add_s: float = 600.0
    backoff_s: float = 300.0
    longest_backoff_s: float = 1800.0
    _scanned: float = 0.0
    _added: float = 0.0
    _unneeded: dict[str, float] = field(default_factory=dict)
    _backoffs: dict[tuple[str, str], _Backoff] = field(default_factory=dict)
    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    ups: list[tuple[float, str, str]] = field(default_factory=list)
    """Every node that was asked for: when, of which pool, where."""

    @property
    def pools(self) -> dict[str, Pool]:
        """Every pool, by name."""
        return self.machines.pools

    async def step(self, view: View) -> None:
        """Look, unless it is too early for that. Raises ApiError."""
        now = self.clock.now()
        if now - self._scanned < self.scan_s:
            return
        self._scanned = now
        for failed in [one for one in self.machines.failures if not one.seen]:
            await self._failed(view, failed, now)
        places = self._places(view)
        for pod in _pending(view):
            await self._house(view, pod, places, now)
        held = await self._hold(view, places, now)
        await self._shrink(view, held, now)

    # Up

    def _places(self, view: View) -> list[_Place]:
        found = []
        there = {node["metadata"]["name"]: node for node in view.nodes}
        for machine in self.machines.machines.values():
            if machine.state is State.LEAVING or not self.pools[machine.pool].autoscaled:
                continue
            used = sum(gpus_of(pod) for pod in view.by_node.get(machine.name, ()) if not _balloon(pod))
            node = there.get(machine.name)
            taints = node["spec"].get("taints", []) if node else self._taints(machine.pool)
            place = _Place(
                self._labels(machine.pool, machine.zone), taints, self.pools[machine.pool].gpus - used, machine
            )
            found.append(place)
        for pool in self.pools.values():
            for zone in pool.zones if pool.autoscaled else ():
                asked = pool.sizes[zone] - len(self.machines.of(pool.name, zone))
                found += [
                    _Place(self._labels(pool.name, zone), self._taints(pool.name), pool.gpus) for _ in range(asked)
                ]
        return found

    async def _house(self, view: View, pod: Json, places: list[_Place], now: float) -> None:
        """Find room for a pending pod, or order a node for it."""
        if _take(pod["spec"], gpus_of(pod), places) is not None:
            return
        pool, zone, why = self._choose(pod["spec"], gpus_of(pod), now)
        if pool is None:
            await self._event(view, pod, "NotTriggerScaleUp", f"pod didn't trigger scale-up: {', '.join(why)}", now)
            return
        size = pool.sizes[zone]
        self._order(pool, zone, places, gpus_of(pod), now)
        group = f"{_GROUPS}/{zone}/instanceGroups/gke-serving-{pool.name}-0a1b-grp"
        most = pool.total[1] if pool.total else (pool.per_zone or (0, 0))[1]
        text = f"pod triggered scale-up: [{{{group} {size}->{size + 1} (max: {most})}}]"
        await self._event(view, pod, "TriggeredScaleUp", text, now)

    async def _hold(self, view: View, places: list[_Place], now: float) -> set[str]:
        """Find room for capacity buffers, and return the machines that they keep."""
        held: set[str] = set()
        for buffer in view.buffers:
            template = await self._template(view, buffer)
            if template is None:
                continue
            wanted = int(buffer["spec"].get("replicas") or 0)
            for _ in range(wanted):
                place = _take(template["spec"], gpus_of(template), places)
                if place is None:
                    pool, zone, _why = self._choose(template["spec"], gpus_of(template), now)
                    if pool is None:
                        break
                    self._order(pool, zone, places, gpus_of(template), now)
                elif place.machine is not None:
                    held.add(place.machine.name)
            await self._buffer_status(view, buffer, wanted)
        return held

    def _choose(self, spec: Json, gpus: int, now: float) -> tuple[Pool | None, str, list[str]]:
        reasons: dict[str, int] = defaultdict(int)
        for pool in self.pools.values():
            if not pool.autoscaled:
                continue
            fitting = [
                zone
                for zone in pool.zones
                if gpus <= pool.gpus and admits(spec, self._labels(pool.name, zone), self._taints(pool.name))
            ]
            if not fitting:
                reasons["node(s) didn't match Pod's node affinity/selector"] += 1
                continue
            open_zones = [zone for zone in fitting if now >= self._closed_until(pool.name, zone)]
            if not open_zones:
                reasons["in backoff after failed scale-up"] += 1
                continue
            roomy = [zone for zone in open_zones if pool.room(zone) > 0]
            if not roomy:
                reasons["max node group size reached"] += 1
                continue
            return pool, min(roomy, key=lambda zone: pool.sizes[zone]), []
        return None, "", [f"{count} {reason}" for reason, count in sorted(reasons.items())]

    def _order(self, pool: Pool, zone: str, places: list[_Place], used: int, now: float) -> None:
        pool.sizes[zone] += 1
        self._added = now
        self.ups.append((now, pool.name, zone))
        places.append(_Place(self._labels(pool.name, zone), self._taints(pool.name), pool.gpus - used))

    async def _failed(self, view: View, failed: Failed, now: float) -> None:
        """Take note of machines that could not be had: give them up, tell the pods, wait."""
        failed.seen = True
        pool = self.pools[failed.pool]
        if not pool.autoscaled:
            return
        pool.sizes[failed.zone] = len(self.machines.of(pool.name, failed.zone))
        before = self._backoffs.get((pool.name, failed.zone))
        seconds = self.backoff_s if before is None else min(self.longest_backoff_s, 2 * before.seconds)
        self._backoffs[pool.name, failed.zone] = _Backoff(now + seconds, seconds)
        text = (
            f"Node scale up in zones {failed.zone} associated with this pod failed: {_CAUSES[failed.code]}. "
            "Pod is at risk of not being scheduled."
        )
        labels, taints = self._labels(pool.name, failed.zone), self._taints(pool.name)
        for pod in _pending(view):
            if gpus_of(pod) <= pool.gpus and admits(pod["spec"], labels, taints):
                await self._event(view, pod, "FailedScaleUp", text, now)

    def _closed_until(self, pool: str, zone: str) -> float:
        found = self._backoffs.get((pool, zone))
        return 0.0 if found is None else found.until

    # Down

    async def _shrink(self, view: View, held: set[str], now: float) -> None:
        for machine in list(self.machines.machines.values()):
            pool = self.pools[machine.pool]
            in_use = machine.name in view.by_node or machine.name in held
            if machine.state is not State.READY or in_use or not pool.autoscaled:
                self._unneeded.pop(machine.name, None)
                continue
            since = self._unneeded.setdefault(machine.name, now)
            rested = now - since >= self.unneeded_s and now - self._added >= self.after_add_s
            if rested and pool.size > pool.floor:
                taint = {"key": DELETING, "value": str(int(now)), "effect": "NoSchedule"}
                path = f"/api/v1/nodes/{machine.name}"
                await self.kube.merge(path, {"spec": {"taints": [*self._taints(pool.name), taint]}})
                self._unneeded.pop(machine.name)
                self.machines.remove(machine, after_s=20.0)

    # What it reads and says

    def _labels(self, pool: str, zone: str) -> dict[str, str]:
        found = self.pools[pool]
        labels = {POOL: pool, ZONE: zone, ACCELERATOR: found.accelerator, WORLD: self.machines.world}
        return labels | ({"cloud.google.com/gke-spot": "true"} if found.provisioning == "spot" else {})

    def _taints(self, pool: str) -> list[Json]:
        return [{"key": key, "value": value, "effect": effect} for key, value, effect in self.pools[pool].taints]

    async def _template(self, view: View, buffer: Json) -> Json | None:
        reference = buffer["spec"].get("podTemplateRef")
        if reference is None or leaving(buffer):
            return None
        found = await self.kube.get(f"/api/v1/namespaces/{view.namespace}/podtemplates/{reference['name']}")
        template: Json = found["template"]
        return template

    async def _buffer_status(self, view: View, buffer: Json, replicas: int) -> None:
        status = buffer.get("status") or {}
        if status.get("replicas") == replicas and status.get("conditions"):
            return
        now = rfc3339(self.clock.now())
        buffers = f"/apis/autoscaling.x-k8s.io/v1beta1/namespaces/{view.namespace}/capacitybuffers"
        path = f"{buffers}/{buffer['metadata']['name']}"
        condition = {"reason": "Done", "message": "ready", "status": "True", "lastTransitionTime": now}
        conditions = [{"type": kind, **condition} for kind in ("ReadyForProvisioning", "Provisioning")]
        await self.kube.merge(f"{path}/status", {"status": {"replicas": replicas, "conditions": conditions}})

    async def _event(self, view: View, pod: Json, reason: str, text: str, now: float) -> None:
        """Say something about a pod; the same is said again only after a while."""
        uid = pod["metadata"]["uid"]
        if reason == "NotTriggerScaleUp" and now - self._told.get((uid, text), -1e9) < self.backoff_s:
            return
        self._told[uid, text] = now
        name = pod["metadata"]["name"]
        body = {
            "metadata": {"name": f"{name}.{secrets.token_hex(6)}", "namespace": view.namespace},
            "involvedObject": {"kind": "Pod", "namespace": view.namespace, "name": name, "uid": uid},
            "reason": reason,
            "message": text,
            "type": "Normal" if reason != "FailedScaleUp" else "Warning",
            "firstTimestamp": rfc3339(now),
            "lastTimestamp": rfc3339(now),
            "count": 1,
            "source": {"component": "cluster-autoscaler"},
        }
        await self.kube.create(f"/api/v1/namespaces/{view.namespace}/events", body)


def _pending(view: View) -> list[Json]:
    """Pods that the scheduler found no node for, those of a higher priority first."""
    found = [
        pod
        for pod in view.pods
        if not pod["spec"].get("nodeName")
        and not leaving(pod)
        and condition(pod, "PodScheduled").get("reason") == "Unschedulable"
    ]
    return sorted(found, key=lambda pod: -int(pod["spec"].get("priority") or 0))


def _balloon(pod: Json) -> bool:
    """Whether a pod gives way to any other."""
    return int(pod["spec"].get("priority") or 0) < 0


def _take(spec: Json, gpus: int, places: list[_Place]) -> _Place | None:
    for place in places:
        if place.free >= gpus and admits(spec, place.labels, place.taints):
            place.free -= gpus
            return place
    return None
