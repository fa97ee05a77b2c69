"""A simulated cluster under simulated deployments: pools that give nodes late or not at all, Ray's workers, replicas.

Nodes come when they are ordered, or when a worker waits; Ray's autoscaler keeps workers between the bounds and gives
the rest to replicas that wait; empty nodes beyond what is wanted go after a while. Nobody but these moves anything.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.cluster import ClusterFound, GroupFound, LayerOutcome, LayerStep, PendingWorker
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.plan import Decision, Outcome, OutcomeStatus
from controller.domain.pools import VerdictKind
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.domain.serve import ReplicaState, ServeState
from controller.domain.supply import Refusal
from controller.domain.workers import Worker, WorkerState
from tests.clocks import VirtualClock
from tests.scenarios.simulated import SimulatedDeployment, SimulatedReplica

IDLE_WORKER_S = 60.0
IDLE_NODE_S = 120.0


@dataclass
class SimulatedPool:
    """Nodes of one kind, in one zone; ``stocked_out`` while none can be had."""

    name: str
    gpus: int = 1
    most: int = 10
    node_s: float = 300.0
    stocked_out: bool = False
    wanted: int = 0


@dataclass
class SimulatedGroup:
    """Workers of ``gpus`` GPUs, between two bounds."""

    name: str
    gpus: int = 1
    worker_s: float = 30.0
    least: int = 0
    most: int = 0


@dataclass(eq=False)
class _Worker:
    name: str
    group: SimulatedGroup
    created_at: float
    ready_at: float
    address: str
    idle_since: float


@dataclass(eq=False)
class _Node:
    name: str
    pool: SimulatedPool
    created_at: float
    ready_at: float
    workers: list[_Worker] = field(default_factory=list)
    draining: bool = False
    empty_since: float = 0.0


@dataclass
class SimulatedCluster:
    """Everything under the replicas. ``unreachable`` makes every call fail; ``created`` counts nodes by pool."""

    clock: VirtualClock
    pools: list[SimulatedPool]
    groups: list[SimulatedGroup]
    deployments: list[PlacedDeployment] = field(default_factory=list)
    nodes: list[_Node] = field(default_factory=list)
    unreachable: bool = False
    writes: list[tuple[float, LayerStep]] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    _refused: list[Refusal] = field(default_factory=list)
    _made: int = 0

    def add_node(self, pool: str, *, workers: int = 1) -> _Node:
        """A node that is ready now, with ready workers of the first group."""
        owner = next(one for one in self.pools if one.name == pool)
        node = self._node(owner, ready_at=self.clock.now())
        owner.wanted += 1
        for _ in range(workers):
            self._worker(node, self.groups[0], ready_at=self.clock.now())
        return node

    def used(self, worker: _Worker) -> int:
        """GPUs of a worker that replicas hold."""
        return sum(
            deployment.gpus
            for deployment in self.deployments
            for replica in deployment.replicas
            if deployment.places.get(replica.replica_id) is worker
        )

    def advance(self) -> None:
        """Let everybody react to the time that has passed."""
        now = self.clock.now()
        self._make_nodes(now)
        self._place_replicas(now)
        self._run_workers(now)
        self._place_replicas(now)
        self._remove_idle(now)

    def reclaim(self, node: _Node) -> None:
        """The cloud takes a spot node back: first it drains, then it is gone."""
        node.draining = True

    def remove(self, node: _Node) -> None:
        """A node is gone, with all that ran on it; Serve starts its replicas again."""
        self.nodes.remove(node)
        gone = {id(worker) for worker in node.workers}
        for deployment in self.deployments:
            for replica in deployment.replicas:
                if id(deployment.places.get(replica.replica_id)) in gone:
                    deployment.restart(replica)

    async def observe(self, now: float) -> ClusterFound:
        if self.unreachable:
            return ClusterFound(at=now, problems=("the API server does not answer",))
        refused, self._refused = tuple(self._refused), []
        return ClusterFound(
            at=now,
            nodes=tuple(self._seen(node) for node in self.nodes),
            groups=tuple(
                GroupFound(name=group.name, min_workers=group.least, max_workers=group.most) for group in self.groups
            ),
            warm=tuple((pool.name, self._vacant(pool)) for pool in self.pools),
            events=refused,
        )

    async def close(self) -> None:
        pass

    def _vacant(self, pool: SimulatedPool) -> int:
        manned = sum(bool(node.workers) for node in self.nodes if node.pool is pool)
        return max(0, pool.wanted - manned)

    def _make_nodes(self, now: float) -> None:
        for pool in self.pools:
            there = sum(node.pool is pool for node in self.nodes)
            for _ in range(min(pool.wanted, pool.most) - there):
                if pool.stocked_out:
                    self._refused.append(
                        Refusal(pool=pool.name, at=now, kind=VerdictKind.STOCKED_OUT, detail="GCE_STOCKOUT")
                    )
                    break
                self.created[pool.name] += 1
                self._node(pool, ready_at=now + pool.node_s)

    def _node(self, pool: SimulatedPool, *, ready_at: float) -> _Node:
        self._made += 1
        now = self.clock.now()
        node = _Node(f"{pool.name}-{self._made}", pool, now, ready_at, empty_since=now)
        self.nodes.append(node)
        return node

    def _worker(self, node: _Node, group: SimulatedGroup, *, ready_at: float) -> _Worker:
        self._made += 1
        now = self.clock.now()
        worker = _Worker(f"{group.name}-w{self._made}", group, now, ready_at, f"10.1.0.{self._made}", now)
        node.workers.append(worker)
        return worker

    def _run_workers(self, now: float) -> None:
        """Ray's autoscaler: the least of each group, and one for each replica that waits, up to the most."""
        waiting = sum(len(deployment.waiting) for deployment in self.deployments)
        for group in self.groups:
            there = sum(worker.group is group for node in self.nodes for worker in node.workers)
            starting = sum(
                worker.group is group and worker.ready_at > now for node in self.nodes for worker in node.workers
            )
            wanted = min(max(group.least, there + waiting - starting), group.most)
            for node in self.nodes:
                while there < wanted and self._has_room(node, group, now):
                    self._worker(node, group, ready_at=now + group.worker_s)
                    there += 1

    def _has_room(self, node: _Node, group: SimulatedGroup, now: float) -> bool:
        free = node.pool.gpus - sum(worker.group.gpus for worker in node.workers)
        return node.ready_at <= now and not node.draining and free >= group.gpus

    def _place_replicas(self, now: float) -> None:
        for deployment in self.deployments:
            for replica in deployment.waiting:
                for node in self.nodes:
                    free = [
                        worker
                        for worker in node.workers
                        if worker.ready_at <= now and worker.group.gpus - self.used(worker) >= deployment.gpus
                    ]
                    if free and not node.draining:
                        deployment.put(replica, free[0])
                        break

    def _remove_idle(self, now: float) -> None:
        for node in list(self.nodes):
            for worker in list(node.workers):
                if self.used(worker):
                    worker.idle_since = now
                there = sum(one.group is worker.group for other in self.nodes for one in other.workers)
                if there > worker.group.least and now - worker.idle_since > IDLE_WORKER_S:
                    node.workers.remove(worker)
            if node.workers:
                node.empty_since = now
            there = sum(other.pool is node.pool for other in self.nodes)
            if there > node.pool.wanted and now - node.empty_since > IDLE_NODE_S:
                self.nodes.remove(node)

    def _seen(self, node: _Node) -> Node:
        now = self.clock.now()
        state = NodeState.READY if node.ready_at <= now else NodeState.STARTING
        return Node(
            name=node.name,
            pool=node.pool.name,
            zone="a",
            gpus=node.pool.gpus,
            state=NodeState.DRAINING if node.draining else state,
            since=node.created_at,
            ready_at=node.ready_at if node.ready_at <= now else None,
            workers=tuple(
                Worker(
                    name=worker.name,
                    group=worker.group.name,
                    gpus=worker.group.gpus,
                    state=WorkerState.READY if worker.ready_at <= now else WorkerState.STARTING,
                    since=worker.created_at,
                    created_at=worker.created_at,
                    image_pulled_at=worker.ready_at if worker.ready_at <= now else None,
                    ready_at=worker.ready_at if worker.ready_at <= now else None,
                    address=worker.address,
                )
                for worker in node.workers
            ),
        )


@dataclass
class PlacedDeployment(SimulatedDeployment):
    """Replicas that wait for a worker before they start."""

    gpus: int = 1
    places: dict[str, _Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._moved_at = self.clock.now()

    @property
    def waiting(self) -> list[SimulatedReplica]:
        return [replica for replica in self.replicas if replica.replica_id not in self.places]

    def set_target(self, target: int) -> None:
        now = self.clock.now()
        # Serve stops those first that do not run.
        self.replicas.sort(key=lambda one: one.ready_at)
        for replica in self.replicas[target:]:
            self.places.pop(replica.replica_id, None)
        del self.replicas[target:]
        for _ in range(target - len(self.replicas)):
            self._created += 1
            self.replicas.append(SimulatedReplica(f"{self.id.application}-{self._created}", now, math.inf))

    def put(self, replica: SimulatedReplica, worker: _Worker) -> None:
        self.places[replica.replica_id] = worker
        replica.created_at = self.clock.now()
        replica.ready_at = self.clock.now() + self.start_s

    def restart(self, replica: SimulatedReplica) -> None:
        self.places.pop(replica.replica_id, None)
        self._created += 1
        replica.replica_id, replica.ready_at = f"{self.id.application}-{self._created}", math.inf

    def begin_with(self, cluster: SimulatedCluster, replicas: int) -> None:
        """So many replicas run from the beginning."""
        self.set_target(replicas)
        cluster.deployments.append(self)
        cluster.advance()
        for replica in self.replicas:
            replica.ready_at = self.clock.now()

    def serve_state(self) -> ServeState:
        state = super().serve_state()
        (application,) = state.applications
        (deployment,) = application.deployments
        placed = tuple(
            replace(one, node_ip=self.places[one.replica_id].address if one.replica_id in self.places else None)
            for one in deployment.replicas
        )
        return replace(state, applications=(replace(application, deployments=(replace(deployment, replicas=placed),)),))

    @property
    def running(self) -> int:
        state = self.serve_state().deployment(self.id)
        return 0 if state is None else state.count(ReplicaState.RUNNING)


@dataclass
class FleetSource:
    """One kind of source of all deployments together."""

    deployments: Sequence[SimulatedDeployment]
    kind: SourceKind

    async def collect(self, now: float) -> Sequence[Scrape]:
        samples: dict[SourceKind, Callable[[SimulatedDeployment], tuple[Sample, ...]]] = {
            SourceKind.RAY: SimulatedDeployment.ray_samples,
            SourceKind.HAPROXY: SimulatedDeployment.haproxy_samples,
            SourceKind.SERVE: lambda _deployment: (),
        }
        told = tuple(sample for deployment in self.deployments for sample in samples[self.kind](deployment))
        serve = None
        if self.kind is SourceKind.SERVE:
            applications = tuple(one.serve_state().applications[0] for one in self.deployments)
            serve = ServeState(applications=applications)
        return (Scrape(source=f"{self.kind}/10.0.0.3", kind=self.kind, at=now, ok=True, samples=told, serve=serve),)

    async def close(self) -> None:
        pass


@dataclass
class FleetActuator:
    """Sets simulated targets, or only says so."""

    cluster: SimulatedCluster
    advisory: bool = False
    applied: list[tuple[float, DeploymentId, int]] = field(default_factory=list)

    async def apply(self, decision: Decision) -> Outcome:
        if self.advisory or decision.desired is None:
            return Outcome(id=decision.id, status=OutcomeStatus.ADVISED)
        deployment = next(one for one in self.cluster.deployments if one.id == decision.id)
        deployment.set_target(decision.desired)
        self.applied.append((self.cluster.clock.now(), decision.id, decision.desired))
        return Outcome(id=decision.id, status=OutcomeStatus.APPLIED, attempts=1)

    async def read_state(self) -> ServeState | None:
        return None

    async def close(self) -> None:
        pass


@dataclass
class SimulatedLever:
    """Sets a pool's nodes, or a worker group's bounds; ``breaks`` after its write, or ``hangs`` before it."""

    cluster: SimulatedCluster
    layer: Layer
    breaks: bool = False
    hangs: bool = False

    async def apply(self, step: LayerStep, _found: ClusterFound) -> LayerOutcome:
        if self.hangs:
            await asyncio.Event().wait()
        if self.cluster.unreachable:
            return LayerOutcome(layer=step.layer, name=step.name, status=OutcomeStatus.FAILED, detail="no answer")
        self.cluster.writes.append((self.cluster.clock.now(), step))
        same = self._set(step)
        if self.breaks:
            message = "killed after the write"
            raise RuntimeError(message)
        status = OutcomeStatus.NOTHING_TO_DO if same else OutcomeStatus.APPLIED
        return LayerOutcome(layer=step.layer, name=step.name, status=status, lever="simulated", attempts=1)

    async def close(self) -> None:
        pass

    def _set(self, step: LayerStep) -> bool:
        if self.layer is Layer.NODE:
            pool = next(one for one in self.cluster.pools if one.name == step.name)
            same = pool.wanted == step.wanted
            pool.wanted = step.wanted
            return same
        group = next(one for one in self.cluster.groups if one.name == step.name)
        wanted = (step.wanted, step.most or 0)
        same = (group.least, group.most) == wanted
        group.least, group.most = wanted
        return same


def pending(name: str, at: float) -> PendingWorker:
    """A worker without a node."""
    return PendingWorker(name=name, created_at=at, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
