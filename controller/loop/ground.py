"""The cluster as one tick's thinking takes it: what was found, joined with what Serve says and with the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.domain.cluster import ClusterFound, GroupFound
from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.nodes import Node
from controller.domain.placement import Budget, ClusterInput
from controller.domain.serve import ServeState
from controller.domain.snapshot import Snapshot
from controller.domain.supply import SupplyLedger
from controller.domain.workers import ReplicaShape
from controller.planner.placement.given import cluster_input
from controller.planner.placement.live import LivePools, live_pools
from controller.planner.supply.leads import replica_leads
from controller.planner.supply.ledger import note, prune
from controller.planner.supply.news import listed
from controller.planner.supply.occupancy import Occupancy, occupied
from controller.planner.supply.replicas import started
from controller.planner.supply.waiting import Chain, chain
from controller.policy.cluster import ClusterPolicy
from controller.policy.model import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """``given`` is the plan's input without any demand; its nodes have replicas on them, or are None (``unseen``).

    ``chains`` say what is under the next replica of each deployment that is placed, where that is known; ``waiting``
    counts the replicas of each that have no worker yet.
    """

    found: ClusterFound
    given: ClusterInput
    shapes: Mapping[DeploymentId, ReplicaShape]
    chains: Mapping[DeploymentId, Chain]
    replica_leads: Mapping[str, LeadTime]
    elsewhere: Mapping[DeploymentId, int]
    waiting: Mapping[DeploymentId, int]
    unseen: str | None
    problems: tuple[str, ...]


def grounded(
    policy: Policy,
    found: ClusterFound | None,
    serve: ServeState | None,
    snapshots: Sequence[Snapshot],
    ledger: SupplyLedger,
    *,
    now: float,
) -> tuple[Ground | None, SupplyLedger]:
    """Take news into the ledger, and put together what is known; None without a cluster in policy or sight.

    While Serve's state is unknown nobody knows what runs on the nodes, so the nodes are not known for the plan either.
    """
    if found is None or policy.cluster is None:
        return None, ledger
    shapes = {one.id: one.placement.shape for one in policy.deployments if one.placement is not None}
    occupancy = _occupancy(policy.cluster, found, serve, shapes, ledger)
    events = [*found.events, *(() if found.nodes is None else listed(ledger, found.nodes, now=found.at))]
    if occupancy is not None and serve is not None:
        events += started(occupancy.nodes, serve, snapshots)
    ledger = prune(note(ledger, events), now=now)
    live = live_pools((pool.pool for pool in policy.cluster.node_pools), found.pools)
    nodes = None if occupancy is None else occupancy.nodes
    given = _given(policy, live, nodes, ledger, found.groups, now=now)
    waiting = {} if occupancy is None else occupancy.waiting
    return Ground(
        found=found,
        given=given,
        shapes=shapes,
        chains=_chains(shapes, given, waiting, now),
        replica_leads=replica_leads(ledger),
        elsewhere={} if occupancy is None else {name: occupancy.elsewhere.get(name, 0) for name in shapes},
        waiting=waiting,
        unseen=_unseen(found, serve),
        problems=(*found.problems, *live.problems, *(() if occupancy is None else occupancy.problems)),
    ), ledger


def regrounded(ground: Ground, policy: Policy, ledger: SupplyLedger, *, now: float) -> Ground | None:
    """Return the same cluster under another policy, without news; None where that policy plans none.

    What runs on the nodes stays as it was found, whatever the policy now says of its shape. ``problems`` are those
    of the new policy's pools.
    """
    if policy.cluster is None:
        return None
    shapes = {one.id: one.placement.shape for one in policy.deployments if one.placement is not None}
    live = live_pools((pool.pool for pool in policy.cluster.node_pools), ground.found.pools)
    given = _given(policy, live, ground.given.nodes, ledger, ground.found.groups, now=now)
    return replace(
        ground,
        given=given,
        shapes=shapes,
        chains=_chains(shapes, given, ground.waiting, now),
        problems=live.problems,
    )


def _given(
    policy: Policy,
    live: LivePools,
    nodes: Sequence[Node] | None,
    ledger: SupplyLedger,
    groups: Iterable[GroupFound] | None,
    *,
    now: float,
) -> ClusterInput:
    if policy.cluster is None:
        msg = "a policy without a cluster has no input for a plan of it"
        raise ValueError(msg)
    given = cluster_input(
        policy.cluster,
        (),
        nodes,
        ledger,
        pools=live.pools,
        budget=Budget() if policy.budget is None else policy.budget.of_nodes,
        interval_s=policy.control.interval_s,
        now=now,
    )
    return replace(given, pending=tuple((group.name, len(group.pending)) for group in groups or () if group.pending))


def _chains(
    shapes: Mapping[DeploymentId, ReplicaShape], given: ClusterInput, waiting: Mapping[DeploymentId, int], now: float
) -> dict[DeploymentId, Chain]:
    chains = {name: chain(shape, given, asked=waiting.get(name, 0), now=now) for name, shape in shapes.items()}
    return {name: one for name, one in chains.items() if one is not None}


def _occupancy(
    policy: ClusterPolicy,
    found: ClusterFound,
    serve: ServeState | None,
    shapes: Mapping[DeploymentId, ReplicaShape],
    ledger: SupplyLedger,
) -> Occupancy | None:
    if found.nodes is None or serve is None:
        return None
    accelerators = {group.name: group.group.accelerator for group in policy.worker_groups}
    placed = {unit.uid for unit in ledger.units if unit.layer is Layer.REPLICA and unit.parent is not None}
    return occupied(found.nodes, serve, shapes, accelerators, placed_before=placed)


def _unseen(found: ClusterFound, serve: ServeState | None) -> str | None:
    if found.nodes is None:
        return found.problems[0] if found.problems else "the nodes could not be listed"
    return "Serve's state is unknown, so nobody knows what runs on the nodes" if serve is None else None
