"""News of replicas for the ledger: which worker each came up on, and when it could be sent requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.domain.layer import Layer
from controller.domain.nodes import Node
from controller.domain.serve import ServeState
from controller.domain.snapshot import Snapshot
from controller.domain.supply import Milestone, Reached


def started(nodes: Iterable[Node], serve: ServeState, snapshots: Iterable[Snapshot]) -> Iterator[Reached]:
    """Tell when the replicas on these nodes were created, and which of them became ready of late.

    ``nodes`` are those with replicas on them (``occupancy.occupied``). A replica of which the start was not seen to
    end has no end.
    """
    created = {
        replica.replica_id: replica.started_at
        for application in serve.applications
        for deployment in application.deployments
        for replica in deployment.replicas
    }
    ready = {start.replica_id: start.ready_at for snapshot in snapshots for start in snapshot.startups}
    told: set[str] = set()
    for node in nodes:
        for worker in node.workers:
            for occupant in worker.occupants:
                if occupant.replica in told or occupant.replica not in created:
                    continue
                told.add(occupant.replica)
                moments = {
                    Milestone.REPLICA_CREATED: created[occupant.replica],
                    Milestone.REPLICA_READY: ready.get(occupant.replica),
                }
                for milestone, at in moments.items():
                    if at is not None:
                        yield Reached(
                            layer=Layer.REPLICA,
                            key=str(occupant.deployment),
                            uid=occupant.replica,
                            pool=node.pool,
                            milestone=milestone,
                            at=at,
                            parent=worker.name,
                        )
