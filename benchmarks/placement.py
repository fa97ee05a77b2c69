"""How long a plan of the cluster takes, and what the exact assignment saves over placing one by one.

``python benchmarks/placement.py`` prints the table of docs/placement.md. Clusters are random but the same each time:
partly filled nodes of three pools, deployments of 1, 2, 4 and 8 GPUs that want three times their replicas within a
node's lead.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterInput, PoolLeads, ReplicaDemand, WantedBy
from controller.domain.pools import Accelerator, NodePool, Provisioning, TotalBounds
from controller.domain.workers import Occupant, ReplicaShape, ReplicaState, Worker, WorkerGroup, WorkerState
from controller.planner.placement import Effort, plan_cluster
from controller.planner.placement.build import node_problem, scene
from controller.planner.placement.greedy import solve_greedily
from controller.planner.placement.objective import criteria
from controller.planner.placement.problem import Problem
from controller.planner.placement.solve import solve

NOW = 0.0
REPLICA_S, WORKER_S = 60.0, 40.0
KIND = Accelerator("nvidia-l4")
SIZES = (1, 2, 4, 8)
POOLS = tuple(
    NodePool(
        name=f"l4-{gpus}",
        accelerator=KIND,
        gpus_per_node=gpus,
        zones=("a",),
        provisioning=Provisioning.ON_DEMAND,
        priority=1,
        bounds=TotalBounds(0, 5000),
        price_per_hour=price,
    )
    for gpus, price in ((2, 1.7), (4, 3.1), (8, 5.9))
)
GROUPS = tuple(
    WorkerGroup(name=f"w-{gpus}", accelerator=KIND, gpus_per_worker=gpus, min_workers=0, max_workers=10_000)
    for gpus in SIZES
)


MOST_TAKEN, IN_USE = 0.8, 0.7
"""Chance that room of a node gets another worker, and that a worker has a replica."""


def lead(seconds: float) -> LeadTime:
    """The same at every quantile."""
    return LeadTime(p50_s=seconds, p90_s=seconds, p95_s=seconds, source=LeadSource.POLICY, samples=0)


def cluster(nodes: int, deployments: int, seed: int) -> ClusterInput:
    """Make a random cluster of so many nodes, and what its deployments want."""
    rng = random.Random(seed)
    owners = [(DeploymentId("app", f"d{index}"), rng.choice(SIZES)) for index in range(deployments)]
    existing = [_node(rng, index, owners) for index in range(nodes)]
    running: dict[DeploymentId, int] = {}
    for node in existing:
        for worker in node.workers:
            for occupant in worker.occupants:
                running[occupant.deployment] = running.get(occupant.deployment, 0) + 1
    leads = tuple(PoolLeads(pool=pool.name, node=lead(200.0), worker=lead(WORKER_S)) for pool in POOLS)
    return ClusterInput(
        demands=tuple(_demand(owner, gpus, running.get(owner, 0)) for owner, gpus in owners),
        pools=POOLS,
        groups=GROUPS,
        nodes=tuple(existing),
        leads=leads,
    )


def _demand(owner: DeploymentId, gpus: int, running: int) -> ReplicaDemand:
    more = max(1, 2 * running)
    horizons = ((REPLICA_S, more // 3), (REPLICA_S + WORKER_S, more // 2), (REPLICA_S + WORKER_S + 200.0, more))
    return ReplicaDemand(
        id=owner,
        shape=ReplicaShape(accelerator=KIND, tensor_parallel=gpus),
        replica_lead_s=REPLICA_S,
        wanted=tuple(WantedBy(due, running + count) for due, count in horizons),
    )


def _node(rng: random.Random, index: int, owners: list[tuple[DeploymentId, int]]) -> Node:
    pool = rng.choice(POOLS)
    workers = tuple(_workers(rng, index, pool.gpus_per_node, owners))
    return Node(
        name=f"n{index}", pool=pool.name, zone="a", gpus=pool.gpus_per_node, state=NodeState.READY, since=-9e3,
        workers=workers,
    )  # fmt: skip


def _workers(rng: random.Random, index: int, gpus: int, owners: list[tuple[DeploymentId, int]]) -> Iterator[Worker]:
    left = gpus
    while left > 0 and rng.random() < MOST_TAKEN:
        group = rng.choice([group for group in GROUPS if group.gpus_per_worker <= left])
        left -= group.gpus_per_worker
        fitting = [owner for owner in owners if owner[1] <= group.gpus_per_worker]
        occupants = ()
        if fitting and rng.random() < IN_USE:
            owner, size = rng.choice(fitting)
            occupants = (Occupant(replica=f"r{index}-{left}", deployment=owner, gpus=size, state=ReplicaState.RUNNING),)
        yield Worker(
            name=f"w{index}-{left}", group=group.name, gpus=group.gpus_per_worker, state=WorkerState.READY, since=-8e3,
            occupants=occupants,
        )  # fmt: skip


def spend(problem: Problem, which: str) -> float:
    """Cost of the new nodes that one of the two solvers asks for."""
    packing = solve_greedily(problem) if which == "greedy" else solve(problem, Effort())[0]
    return next(one.value for one in criteria(problem, packing) if one.name.startswith("cost of new nodes"))


def main() -> None:
    """Print the table."""
    print("| nodes | deployments | new replicas | CPU ms: greedy | plan | new nodes cost: greedy | exact | proven |")
    print("|---|---|---|---|---|---|---|---|")
    for nodes, deployments in ((0, 3), (0, 7), (0, 40), (10, 3), (100, 10), (1000, 50), (1000, 300)):
        given = cluster(nodes, deployments, seed=1)
        problem = node_problem(scene(given, given.nodes or (), now=NOW))
        started = time.process_time()
        solve_greedily(problem)
        greedy_s = time.process_time() - started
        started = time.process_time()
        plan = plan_cluster(given, now=NOW)
        plan_s = time.process_time() - started
        wanted = sum(replicas.count for replicas in problem.classes)
        proven = plan.nodes_solved is not None and plan.nodes_solved.proven
        print(
            f"| {nodes} | {deployments} | {wanted} | {greedy_s * 1000:.0f} | {plan_s * 1000:.0f} "
            f"| {spend(problem, 'greedy'):.1f} | {spend(problem, 'exact'):.1f} | {'yes' if proven else 'no'} |"
        )


if __name__ == "__main__":
    main()
