"""Google's machines: what a pool's instance groups are to have becomes Node objects, or an error."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Json, Kube, rfc3339
from controller.simulated_cloud.pools import QUOTA, STOCKOUT, Pool
from controller.simulated_cloud.view import GPU, WORLD

POOL, ZONE, ACCELERATOR = (
    "cloud.google.com/gke-nodepool",
    "topology.kubernetes.io/zone",
    "cloud.google.com/gke-accelerator",
)
LEAVING = "cloud.google.com/impending-node-termination"

_STOCKOUT, _QUOTA = 1, 3
_NOTICE_S = 30.0


class State(StrEnum):
    """How far a machine has come."""

    ORDERED = "ordered"
    BOOTING = "booting"
    READY = "ready"
    LEAVING = "leaving"


@dataclass
class Machine:
    """One instance. Times are those of the scaled clock."""

    name: str
    pool: str
    zone: str
    ordered_at: float
    node_at: float
    ready_at: float
    state: State = State.ORDERED
    gone_at: float = float("inf")


@dataclass
class Failed:
    """An instance that could not be made. ``seen`` once the cluster autoscaler took note."""

    pool: str
    zone: str
    at: float
    code: str
    text: str
    seen: bool = False


@dataclass
class Machines:
    """Makes instances for what groups lack, and removes what they have too much.

    ``refuse_s`` is how long Google takes to say that there is none. Where a group is not made smaller, it tries again
    every ``retry_s``.
    """

    kube: Kube
    clock: ScaledClock
    pools: dict[str, Pool]
    world: str
    seed: int = 0
    refuse_s: float = 20.0
    retry_s: float = 60.0
    machines: dict[str, Machine] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    made: int = 0
    ordered: Counter[str] = field(default_factory=Counter)
    """Machines that were asked of Google and granted, by pool; those that were there to begin with left out."""
    _tried: dict[tuple[str, str], float] = field(default_factory=dict)
    _lacking: dict[tuple[str, str], float] = field(default_factory=dict)
    _rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._rng.seed(self.seed)

    def of(self, pool: str, zone: str | None = None) -> list[Machine]:
        """The machines of a pool that stay, those that come included."""
        return [
            one
            for one in self.machines.values()
            if one.pool == pool and zone in (None, one.zone) and one.state is not State.LEAVING
        ]

    def add(self, pool: str, count: int = 1) -> None:
        """Have machines at once, as if they had been ordered long ago."""
        zone = self.pools[pool].zones[0]
        for _ in range(count):
            self.pools[pool].sizes[zone] += 1
            now = self.clock.now()
            self.made += 1
            name = f"gke-serving-{pool}-0000-{self.made}"
            self.machines[name] = Machine(name, pool, zone, now, now, now)

    def remove(self, machine: Machine, *, after_s: float = 0.0) -> None:
        """Take a machine away for good: its group gets smaller by one."""
        self.pools[machine.pool].sizes[machine.zone] -= 1
        self._leave(machine, after_s)

    async def reclaim(self, name: str) -> None:
        """Take a spot machine back, with Google's notice; its group tries to get another."""
        machine = self.machines[name]
        await self.kube.merge(
            f"/api/v1/nodes/{name}",
            {"spec": {"taints": [*self._taints(machine), {"key": LEAVING, "effect": "NoSchedule"}]}},
        )
        self._leave(machine, _NOTICE_S)

    async def step(self) -> None:
        """Let machines come, become ready and go. Raises ApiError."""
        now = self.clock.now()
        for pool in self.pools.values():
            for zone in pool.zones:
                self._fit(pool, zone, now)
        for machine in list(self.machines.values()):
            await self._advance(machine, now)

    def _fit(self, pool: Pool, zone: str, now: float) -> None:
        there = self.of(pool.name, zone)
        key = (pool.name, zone)
        for machine in self._rng.sample(there, max(0, len(there) - pool.sizes[zone])):
            self._leave(machine, 0.0)
        lacking = pool.sizes[zone] - len(there)
        if lacking <= 0:
            self._lacking.pop(key, None)
            return
        if now < self._tried.get(key, 0.0):
            return
        for _ in range(lacking):
            if (refused := self._refusal(pool, zone)) is not None:
                self._refuse(pool, zone, refused, now)
                return
            self._make(pool, zone, now)
        self._lacking.pop(key, None)
        pool.conditions.clear()

    def _refusal(self, pool: Pool, zone: str) -> tuple[int, str] | None:
        if pool.quota is not None and len(self.of(pool.name)) >= pool.quota:
            return _QUOTA, QUOTA.format(pool=pool.name, limit=pool.quota)
        if pool.stock.get(zone, 1) <= 0:
            return _STOCKOUT, STOCKOUT.format(pool=pool.name, zone=zone)
        return None

    def _refuse(self, pool: Pool, zone: str, refused: tuple[int, str], now: float) -> None:
        if now < self._lacking.setdefault((pool.name, zone), now) + self.refuse_s:
            return
        code, text = refused
        names = {_STOCKOUT: "ZONE_RESOURCE_POOL_EXHAUSTED", _QUOTA: "QUOTA_EXCEEDED"}
        self.failures.append(Failed(pool.name, zone, now, names[code], text))
        if refused not in pool.conditions:
            pool.conditions.append(refused)
        self._tried[pool.name, zone] = now + self.retry_s

    def _make(self, pool: Pool, zone: str, now: float) -> None:
        if zone in pool.stock:
            pool.stock[zone] -= 1
        self.made += 1
        self.ordered[pool.name] += 1
        node_at = now + self._rng.uniform(*pool.provision_s)
        name = f"gke-serving-{pool.name}-{self._rng.randrange(16**4):04x}-{self.made}"
        self.machines[name] = Machine(name, pool.name, zone, now, node_at, node_at + self._rng.uniform(*pool.boot_s))

    def _leave(self, machine: Machine, after_s: float) -> None:
        pool = self.pools[machine.pool]
        if machine.state is State.ORDERED:
            del self.machines[machine.name]
            if machine.zone in pool.stock:
                pool.stock[machine.zone] += 1
            return
        machine.state, machine.gone_at = State.LEAVING, self.clock.now() + after_s

    async def _advance(self, machine: Machine, now: float) -> None:
        path = f"/api/v1/nodes/{machine.name}"
        if machine.state is State.ORDERED and now >= machine.node_at:
            await self.kube.create("/api/v1/nodes", self._node(machine, now))
            machine.state = State.BOOTING
        if machine.state is State.BOOTING and now >= machine.ready_at:
            await self._status(machine, now, ready=True)
            machine.state = State.READY
        if machine.state is State.LEAVING and now >= machine.gone_at:
            await self.kube.delete(path)
            del self.machines[machine.name]

    def _taints(self, machine: Machine) -> list[Json]:
        return [
            {"key": key, "value": value, "effect": effect} for key, value, effect in self.pools[machine.pool].taints
        ]

    def _node(self, machine: Machine, now: float) -> Json:
        pool = self.pools[machine.pool]
        labels = {POOL: pool.name, ZONE: machine.zone, ACCELERATOR: pool.accelerator, WORLD: self.world}
        if pool.provisioning == "spot":
            labels["cloud.google.com/gke-spot"] = "true"
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": machine.name, "labels": labels},
            "spec": {"taints": self._taints(machine)},
            "status": self._state(pool, now, ready=False),
        }

    async def _status(self, machine: Machine, now: float, *, ready: bool) -> None:
        status = self._state(self.pools[machine.pool], now, ready=ready)
        await self.kube.merge(f"/api/v1/nodes/{machine.name}/status", {"status": status})
        # The admission and the node controller of a real cluster keep these two in step.
        taints = self._taints(machine)
        await self.kube.merge(f"/api/v1/nodes/{machine.name}", {"spec": {"taints": taints}})

    def _state(self, pool: Pool, now: float, *, ready: bool) -> Json:
        resources = {"cpu": "48", "memory": "192Gi", "pods": "110"} | ({GPU: str(pool.gpus)} if ready else {})
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "KubeletReady" if ready else "KubeletNotReady",
            "lastTransitionTime": rfc3339(now),
            "lastHeartbeatTime": rfc3339(now),
        }
        return {"capacity": resources, "allocatable": resources, "conditions": [condition]}
