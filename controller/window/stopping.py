"""Which replicas Ray Serve would stop first, and how many requests run on them."""

from __future__ import annotations

from collections import Counter

from controller.domain.serve import DeploymentState, Replica, ReplicaState, ServeState
from controller.window.reach import Moment
from controller.window.replica_gauges import processing

_LISTED = 32
"""More are not stopped in one go by any sensible policy."""
_LEAVING = (ReplicaState.STOPPING, ReplicaState.PENDING_MIGRATION)


def stop_streams(moment: Moment, serve: ServeState, deployment: DeploymentState) -> tuple[float | None, ...]:
    """Return the requests on each replica in the order in which Serve would stop them; None where unknown.

    Ray Serve 2.60 takes those that do not run yet, then those off the head node, on the nodes with fewest
    replicas, the newest first. Nodes that its label selectors disfavour are not known here.
    """
    crowd = Counter(
        replica.node_id
        for application in serve.applications
        for other in application.deployments
        for replica in other.replicas
        if replica.state is ReplicaState.RUNNING
    )
    nodes = {node: rank for rank, node in enumerate(sorted(crowd, key=str))}

    def order(replica: Replica) -> tuple[bool, bool, int, int, float]:
        return (
            replica.state is ReplicaState.RUNNING,
            replica.node_id is not None and replica.node_id == serve.head_node_id,
            crowd[replica.node_id],
            nodes.get(replica.node_id, 0),
            -(replica.started_at or 0.0),
        )

    staying = [replica for replica in deployment.replicas if replica.state not in _LEAVING]
    return tuple(_streams(moment, replica) for replica in sorted(staying, key=order)[:_LISTED])


def _streams(moment: Moment, replica: Replica) -> float | None:
    if replica.state is not ReplicaState.RUNNING:
        return 0.0
    shown = processing(moment, replica.replica_id)
    return None if shown is None else shown.value
