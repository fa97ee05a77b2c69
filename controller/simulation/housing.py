"""The cluster's ports on a simulated fleet: its nodes and workers as a cluster shows them, and what sets them.

Every replica has a worker of its own, which is there as soon as the node is: image and weights are part of the
replica's start-up. The nodes that a plan wants vacant are kept; a replica without a node orders one by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from controller.domain.cluster import ClusterFound, GroupFound, LayerOutcome, LayerStep, PendingWorker
from controller.domain.layer import Layer
from controller.domain.nodes import Node, NodeState
from controller.domain.plan import OutcomeStatus
from controller.domain.workers import Worker, WorkerState
from controller.policy.cluster import ClusterPolicy
from controller.simulation.fleet import Fleet, Lifetime
from controller.simulation.pages import worker_address

_CREATED_AFTER = 0.6
"""Share of a node's time that passes before it exists; it boots for the rest."""


class SimulatedCluster:
    """One worker group on one node pool, the first of each in the policy. Observes, and sets both layers."""

    def __init__(self, fleet: Fleet, policy: ClusterPolicy, *, origin: float) -> None:
        self._fleet = fleet
        self._origin = origin
        self._pool = policy.node_pools[0]
        self._group = policy.worker_groups[0]
        self._bounds = (self._group.min_workers, self._group.max_workers)

    async def observe(self, now: float) -> ClusterFound:
        """Show the nodes that exist, with the workers on them."""
        at = now - self._origin
        workers, pending = self._workers(at)
        group = GroupFound(
            name=self._group.name,
            min_workers=self._bounds[0],
            max_workers=self._bounds[1],
            replicas=sum(map(len, workers.values())) + len(pending),
            pending=tuple(pending),
        )
        nodes = tuple(self._nodes(at, workers))
        return ClusterFound(at=now, nodes=nodes, groups=(group,), warm=((self._pool.name, self._fleet.nodes.kept),))

    async def apply(self, step: LayerStep, found: ClusterFound) -> LayerOutcome:  # noqa: ARG002 - nothing else sets it
        """Keep the vacant nodes of a step, or a group's bounds."""
        if step.layer is Layer.NODE:
            self._fleet.nodes.keep(step.vacant or 0, self._fleet.now)
        else:
            self._bounds = (step.wanted, step.wanted if step.most is None else step.most)
        return LayerOutcome(layer=step.layer, name=step.name, status=OutcomeStatus.APPLIED, attempts=1)

    async def close(self) -> None:
        """Nothing to close."""

    def _nodes(self, at: float, workers: dict[int, list[Worker]]) -> Iterator[Node]:
        for node in self._fleet.nodes.views(at):
            created_at = node.ordered_at + _CREATED_AFTER * (node.ready_at - node.ordered_at)
            if created_at > at:
                continue
            is_ready = node.ready_at <= at
            yield Node(
                name=f"n{node.number}",
                pool=self._pool.name,
                zone=self._pool.zones[0],
                gpus=self._fleet.nodes.gpus,
                state=NodeState.READY if is_ready else NodeState.STARTING,
                since=self._origin + created_at,
                workers=tuple(workers.get(node.number, ())),
                ready_at=self._origin + node.ready_at if is_ready else None,
            )

    def _workers(self, at: float) -> tuple[dict[int, list[Worker]], list[PendingWorker]]:
        found: dict[int, list[Worker]] = defaultdict(list)
        pending = []
        for life in self._fleet.lifetimes:
            if life.gone_at is not None:
                continue
            if life.started_at > at:
                pending.append(PendingWorker(name=f"w{life.replica}", created_at=self._origin + life.ordered_at))
            else:
                found[life.node].append(self._worker(life))
        return found, pending

    def _worker(self, life: Lifetime) -> Worker:
        started_at = self._origin + life.started_at
        return Worker(
            name=f"w{life.replica}",
            group=self._group.name,
            gpus=self._group.gpus_per_worker,
            state=WorkerState.READY,
            since=started_at,
            created_at=self._origin + life.ordered_at,
            image_pulled_at=started_at,
            ready_at=started_at,
            address=worker_address(life.replica),
        )
