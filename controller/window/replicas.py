"""What is remembered of replicas between two looks at Serve's state, and the starts seen to end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from controller.domain.identity import DeploymentId
from controller.domain.serve import DeploymentState, Replica, ReplicaState, ServeState
from controller.domain.snapshot import StartupSample

LONGEST_START_S = 7200.0
"""A longer start is taken for clock skew or a replica that was found late."""


@dataclass(slots=True)
class KnownReplica:
    """One replica as seen so far. ``ready_at`` is when it was first seen RUNNING."""

    replica_id: str
    was_starting: bool
    listed_at: float
    ready_at: float | None = None
    born_at: float | None = None
    """When it cannot have served anything yet: its readiness if its start was watched, else its creation.

    None where its creation lies in the future: clocks differ, and an old replica must not look new.
    """


class Replicas:
    """Replicas of every deployment that Serve listed lately."""

    def __init__(self) -> None:
        self._known: dict[DeploymentId, dict[str, KnownReplica]] = {}
        self._finished: dict[DeploymentId, list[StartupSample]] = {}

    def record(self, state: ServeState, at: float, *, oldest: float) -> None:
        """Take in one look at Serve; replicas not listed since ``oldest`` are forgotten."""
        for application in state.applications:
            for deployment in application.deployments:
                self._record_deployment(deployment, at)
        for deployment_id, known in list(self._known.items()):
            for replica in [replica for replica in known.values() if replica.listed_at < oldest]:
                del known[replica.replica_id]
            if not known:
                del self._known[deployment_id]

    def known(self, deployment: DeploymentId) -> Mapping[str, KnownReplica]:
        """Replicas that Serve lists, or listed not long ago, by id."""
        return self._known.get(deployment, {})

    def take_finished(self, deployments: Collection[DeploymentId]) -> dict[DeploymentId, tuple[StartupSample, ...]]:
        """Starts of ``deployments`` that ended since they were last taken; each is handed out once."""
        return {wanted: tuple(self._finished.pop(wanted, ())) for wanted in deployments}

    def _record_deployment(self, deployment: DeploymentState, at: float) -> None:
        known = self._known.setdefault(deployment.id, {})
        for replica in deployment.replicas:
            seen = known.get(replica.replica_id)
            if seen is None:
                seen = KnownReplica(replica_id=replica.replica_id, was_starting=False, listed_at=at)
                known[replica.replica_id] = seen
            seen.listed_at = at
            if replica.state is ReplicaState.STARTING:
                seen.was_starting = True
            elif replica.state is ReplicaState.RUNNING and seen.ready_at is None:
                seen.ready_at = at
                seen.born_at = at if seen.was_starting else _creation(replica, at)
                if seen.was_starting:
                    self._finish(deployment.id, replica, at)

    def _finish(self, deployment: DeploymentId, replica: Replica, at: float) -> None:
        if replica.started_at is None or not 0.0 <= at - replica.started_at <= LONGEST_START_S:
            return
        sample = StartupSample(
            id=deployment, replica_id=replica.replica_id, ready_at=at, seconds=at - replica.started_at
        )
        self._finished.setdefault(deployment, []).append(sample)


def _creation(replica: Replica, at: float) -> float | None:
    return replica.started_at if replica.started_at is not None and replica.started_at <= at else None
