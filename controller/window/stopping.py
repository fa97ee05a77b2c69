"""Which replicas Ray Serve would stop first, and how many requests run on them."""

from __future__ import annotations

from collections import Counter

from controller.domain.serve import DeploymentState, Replica, ReplicaState, ServeState
from controller.window.reach import Moment
from controller.window.replica_gauges import processing

_LISTED = 32
"""More are not stopped in one go by any sensible policy."""
_LEAVING = (ReplicaState.STOPPING, ReplicaState.PENDING_MIGRATION)


class StopOrder:
    """The order in which Serve would stop replicas, by where all of them run.

    Ray Serve 2.60 takes those that do not run yet, then those off the head node, on the nodes with fewest
    replicas, the newest first. Nodes that its label selectors disfavour are not known here.
    """

    def __init__(self, serve: ServeState) -> None:
        self._head = serve.head_node_id
        self._crowd = Counter(
            replica.node_id
            for application in serve.applications
            for deployment in application.deployments
            for replica in deployment.replicas
            if replica.state is ReplicaState.RUNNING
        )
        self._rank = {node: rank for rank, node in enumerate(sorted(self._crowd, key=str))}

    def streams(self, moment: Moment, deployment: DeploymentState) -> tuple[float | None, ...]:
        """Return the requests on each replica, the first to be stopped first; None where unknown."""
        staying = [replica for replica in deployment.replicas if replica.state not in _LEAVING]
        return tuple(_streams(moment, replica) for replica in sorted(staying, key=self._place)[:_LISTED])

    def _place(self, replica: Replica) -> tuple[bool, bool, int, int, float]:
        return (
            replica.state is ReplicaState.RUNNING,
            replica.node_id is not None and replica.node_id == self._head,
            self._crowd[replica.node_id],
            self._rank.get(replica.node_id, 0),
            -(replica.started_at or 0.0),
        )


def _streams(moment: Moment, replica: Replica) -> float | None:
    if replica.state is not ReplicaState.RUNNING:
        return 0.0
    shown = processing(moment, replica.replica_id)
    return None if shown is None else shown.value
