"""The cluster's part of ``foreserve decide``: from what a line tells to a ground to plan on, and to the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from controller.decisions.cluster_message import (
    ClusterAnswer,
    ClusterTold,
    NodeTold,
    OccupantTold,
    UnplacedTold,
    VerdictTold,
    WorkerTold,
)
from controller.decisions.message import DeploymentTold
from controller.domain.cluster import ClusterFound, GroupFound, LayerStep, PendingWorker
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.nodes import Node
from controller.domain.plan import OutcomeStatus
from controller.domain.serve import ApplicationState, DeploymentState, Replica, ServeState
from controller.domain.serve import ReplicaState as Serving
from controller.domain.supply import Refusal, SupplyLedger, SupplyOrder
from controller.domain.workers import ReplicaState, Worker
from controller.loop.cluster import PlannedCluster
from controller.planner.supply.ledger import note
from controller.policy.cluster import ClusterPolicy
from controller.policy.model import Policy

_SERVING = {
    ReplicaState.STARTING: Serving.STARTING,
    ReplicaState.RUNNING: Serving.RUNNING,
    ReplicaState.DRAINING: Serving.STOPPING,
}
_SET = {OutcomeStatus.APPLIED, OutcomeStatus.NOTHING_TO_DO}


def strange(told: ClusterTold, policy: ClusterPolicy | None) -> tuple[str, str] | None:
    """Return the key and the message of what the policy does not know, if there is any."""
    if policy is None:
        return "cluster", "the policy has no cluster section to plan it by"
    pools = {pool.name for pool in policy.node_pools}
    groups = {group.name for group in policy.worker_groups}
    for place, node in enumerate(told.nodes or ()):
        if node.pool not in pools:
            return f"cluster.nodes.{place}.pool", f"{node.pool} is not in the policy, which has {_listed(pools)}"
        for number, worker in enumerate(node.workers):
            if worker.group not in groups:
                key = f"cluster.nodes.{place}.workers.{number}.group"
                return key, f"{worker.group} is not in the policy, which has {_listed(groups)}"
    return None


def found_of(told: ClusterTold, *, at: float) -> ClusterFound:
    """What an observer would have found."""
    problems = (told.unknown,) if told.unknown else ()
    if told.nodes is None and not problems:
        problems = ("the nodes were not told",)
    return ClusterFound(
        at=at,
        nodes=None if told.nodes is None else tuple(_node(node) for node in told.nodes),
        groups=None
        if told.groups is None
        else tuple(
            GroupFound(
                name=group.name,
                min_workers=group.min_workers,
                max_workers=group.max_workers,
                pending=tuple(PendingWorker(name=name, created_at=at) for name in group.pending),
            )
            for group in told.groups
        ),
        warm=None if told.warm is None else tuple(sorted(told.warm.items())),
        events=tuple(
            Refusal(pool=one.pool, at=one.at, kind=one.verdict, detail=one.detail, zone=one.zone)
            for one in told.refusals
        ),
        frozen=told.frozen,
        problems=problems,
    )


def serve_of(policy: Policy, told: ClusterTold, deployments: Mapping[DeploymentId, DeploymentTold]) -> ServeState:
    """What Serve would have told: the replicas on workers, and those that are counted and on none."""
    placed: dict[DeploymentId, list[tuple[OccupantTold, str]]] = {one.id: [] for one in policy.deployments}
    for node in told.nodes or ():
        for worker in node.workers:
            for occupant in worker.replicas:
                placed.setdefault(DeploymentId.parse(occupant.deployment), []).append((occupant, worker.name))
    return ServeState(
        applications=tuple(_application(name, placed[name], deployments.get(name)) for name in sorted(placed))
    )


def noted(
    ledger: SupplyLedger, orders: Iterable[SupplyOrder], steps: Iterable[LayerStep], told: ClusterTold | None
) -> SupplyLedger:
    """Take orders of the last plan into the ledger, as far as their targets were really set."""
    if told is None:
        return ledger
    done = {(step.layer, step.name) for step in steps if _set(step, told)}
    return note(ledger, [order for order in orders if (order.layer, order.key) in done])


def answered(cluster: PlannedCluster) -> ClusterAnswer:
    """Say what is planned."""
    plan = cluster.plan
    return ClusterAnswer(
        pools=plan.pools,
        groups=plan.groups,
        steps=tuple(cluster.acts.steps),
        unplaced=tuple(
            UnplacedTold(deployment=str(one.id), replicas=one.replicas, obstacle=one.obstacle, detail=one.detail)
            for one in plan.unplaced
        ),
        verdicts=tuple(
            VerdictTold(pool=one.pool, zone=one.zone, kind=one.kind, until=one.until, detail=one.detail)
            for one in cluster.given.verdicts
        ),
        held=plan.held,
        problems=tuple(cluster.ground.problems),
    )


def _set(step: LayerStep, told: ClusterTold) -> bool:
    for one in told.applied:
        if (one.layer, one.name) == (step.layer, step.name):
            return OutcomeStatus(one.status) in _SET
    if step.layer is Layer.NODE:
        return told.warm is not None and told.warm.get(step.name, 0) == step.vacant
    return any(
        (one.name, one.min_workers, one.max_workers) == (step.name, step.wanted, step.most) for one in told.groups or ()
    )


def _node(told: NodeTold) -> Node:
    return Node(
        name=told.name,
        pool=told.pool,
        zone=told.zone,
        gpus=told.gpus,
        state=told.state,
        since=told.since,
        ready_at=told.ready_at,
        foreign_gpus=told.foreign_gpus,
        workers=tuple(_worker(worker) for worker in told.workers),
    )


def _worker(told: WorkerTold) -> Worker:
    return Worker(
        name=told.name,
        group=told.group,
        gpus=told.gpus,
        state=told.state,
        since=told.since,
        created_at=told.created_at,
        image_pulled_at=told.image_pulled_at,
        ready_at=told.ready_at,
        address=told.name,
    )


def _application(
    name: DeploymentId, placed: Sequence[tuple[OccupantTold, str]], told: DeploymentTold | None
) -> ApplicationState:
    here = [
        Replica(
            replica_id=occupant.replica,
            state=_SERVING[occupant.state],
            started_at=occupant.created_at,
            node_ip=worker,
        )
        for occupant, worker in placed
    ]
    deployment = DeploymentState(
        id=name,
        status="TOLD",
        message="",
        target_replicas=None if told is None else told.target,
        config_replicas=None,
        autoscaling_configured=False,
        max_ongoing_requests=None,
        replicas=(*here, *_nowhere(here, told)),
        actor_gpus=max((float(occupant.gpus) for occupant, _ in placed), default=0.0),
    )
    return ApplicationState(
        name=name.application,
        status="TOLD",
        route_prefix=None,
        external_scaler_enabled=True,
        last_deployed_at=None,
        deployments=(deployment,),
    )


def _nowhere(here: Iterable[Replica], told: DeploymentTold | None) -> Iterator[Replica]:
    """Replicas that are counted and were told on no worker."""
    if told is None or told.replicas is None:
        return
    counted = {Serving.RUNNING: told.replicas.running, Serving.STARTING: told.replicas.starting}
    placed = Counter(replica.state for replica in here)
    for state, count in counted.items():
        for number in range(count - placed[state]):
            yield Replica(replica_id=f"{state.value.lower()}-{number}", state=state)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
