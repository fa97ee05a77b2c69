"""Which replica is on which worker: Serve's replicas, joined to workers by address."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node
from controller.domain.pools import Accelerator
from controller.domain.serve import DeploymentState, Replica, ServeState
from controller.domain.serve import ReplicaState as Serving
from controller.domain.workers import Occupant, Packing, ReplicaShape, ReplicaState, Worker, WorkerState

SOMEBODY = DeploymentId("unknown", "unknown")
"""Stands for whoever is on a worker that cannot be looked into."""

_STATES = {
    Serving.STARTING: ReplicaState.STARTING,
    Serving.UPDATING: ReplicaState.STARTING,
    Serving.RECOVERING: ReplicaState.STARTING,
    Serving.STOPPING: ReplicaState.DRAINING,
}
"""Any other state is taken for running, so that nothing is taken from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Nodes with the replicas on their workers.

    ``elsewhere`` counts replicas that hold GPUs on no worker that was found, ``waiting`` those that have no worker yet.
    """

    nodes: tuple[Node, ...]
    elsewhere: Mapping[DeploymentId, int]
    waiting: Mapping[DeploymentId, int]
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Places:
    """Workers by address, with what is free on each, while replicas are put on them one by one."""

    workers: dict[str, Worker]
    accelerators: Mapping[str, Accelerator]
    free: dict[str, int]
    occupants: dict[str, list[Occupant]]

    def put(self, name: str, occupant: Occupant) -> None:
        self.free[name] -= occupant.gpus
        self.occupants[name].append(occupant)

    def with_free(self, accelerator: Accelerator) -> list[str]:
        """Names of workers of a kind with free GPUs."""
        alike = (name for name, worker in self.workers.items() if self.accelerators.get(worker.group) == accelerator)
        return sorted(name for name in alike if self.free[name] > 0)


def occupied(
    nodes: Sequence[Node],
    serve: ServeState,
    shapes: Mapping[DeploymentId, ReplicaShape],
    accelerators: Mapping[str, Accelerator],
    *,
    placed_before: Collection[str] = frozenset(),
) -> Occupancy:
    """Put every replica of every application on its worker; ``accelerators`` are those of the worker groups.

    Of the replicas ``placed_before`` (ids) on workers that are gone, Serve tells until it has noticed: they are lost,
    and not elsewhere.

    Serve tells the address of a replica's actor only. A replica over several workers is given free GPUs of others of
    its kind, in a fixed order: how many are free is then right, though not on which of them. A deployment without a
    shape holds the GPUs that its actor asks for; with none it still keeps its worker from being idle. A ready worker
    without an address might hold anything, so it is counted as full.
    """
    workers = {worker.name: worker for node in nodes for worker in node.workers}
    by_address = {worker.address: name for name, worker in sorted(workers.items()) if worker.address is not None}
    places = _Places(
        workers,
        accelerators,
        {name: worker.gpus for name, worker in workers.items()},
        {name: [] for name in workers},
    )
    elsewhere: Counter[DeploymentId] = Counter()
    waiting: Counter[DeploymentId] = Counter()
    lost: Counter[DeploymentId] = Counter()
    short: set[str] = set()
    for deployment in _deployments(serve):
        gpus = _gpus(deployment, shapes)
        for replica in sorted(deployment.replicas, key=lambda one: one.replica_id):
            name = by_address.get(replica.node_ip) if replica.node_ip is not None else None
            if name is not None:
                short |= _placed(places, name, deployment, replica, gpus=gpus, shape=shapes.get(deployment.id))
            elif replica.state is Serving.STARTING and replica.node_ip is None:
                waiting[deployment.id] += 1
            elif gpus > 0 and replica.state is not Serving.STOPPING:
                (lost if replica.replica_id in placed_before else elsewhere)[deployment.id] += 1
    unseen = [name for name, worker in workers.items() if worker.address is None and worker.state is WorkerState.READY]
    for name in unseen:
        places.put(
            name, Occupant(replica=name, deployment=SOMEBODY, gpus=places.free[name], state=ReplicaState.RUNNING)
        )
    return Occupancy(
        nodes=tuple(_with(node, places.occupants) for node in nodes),
        elsewhere=dict(elsewhere),
        waiting=dict(waiting),
        problems=tuple(_problems(short, unseen, elsewhere, lost)),
    )


def _placed(
    places: _Places,
    name: str,
    deployment: DeploymentState,
    replica: Replica,
    *,
    gpus: int,
    shape: ReplicaShape | None,
) -> set[str]:
    """Put a replica on its worker and, where it may span workers, on others; return workers that are overfull."""
    state = _STATES.get(replica.state, ReplicaState.RUNNING)

    def put(worker: str, count: int) -> None:
        places.put(worker, Occupant(replica=replica.replica_id, deployment=deployment.id, gpus=count, state=state))

    here = min(gpus, places.free[name])
    put(name, here)
    left = gpus - here
    if left and shape is not None and shape.packing is Packing.PACK:
        for other in places.with_free(shape.accelerator):
            taken = min(left, places.free[other])
            if taken:
                put(other, taken)
                left -= taken
    return {name} if left else set()


def _deployments(serve: ServeState) -> Iterable[DeploymentState]:
    found = (deployment for application in serve.applications for deployment in application.deployments)
    return sorted(found, key=lambda deployment: deployment.id)


def _gpus(deployment: DeploymentState, shapes: Mapping[DeploymentId, ReplicaShape]) -> int:
    shape = shapes.get(deployment.id)
    return math.ceil(deployment.actor_gpus) if shape is None else shape.gpus


def _with(node: Node, occupants: Mapping[str, Sequence[Occupant]]) -> Node:
    return replace(
        node, workers=tuple(replace(worker, occupants=tuple(occupants[worker.name])) for worker in node.workers)
    )


def _problems(
    short: Iterable[str],
    unseen: Iterable[str],
    elsewhere: Mapping[DeploymentId, int],
    lost: Mapping[DeploymentId, int],
) -> Iterable[str]:
    named: dict[str, list[str]] = defaultdict(list)
    named["hold more GPUs than they have; is placement of every deployment right in the policy?"] = sorted(short)
    named["have no address, so nobody knows what runs there"] = sorted(unseen)
    for said, names in named.items():
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"workers {names[0]}{more} {said}"
    for deployment, count in sorted(elsewhere.items()):
        yield f"{count} of {deployment} hold GPUs on no worker of the policy's groups"
    for deployment, count in sorted(lost.items()):
        yield f"{count} of {deployment} went with their workers, and Serve has not noticed yet"
