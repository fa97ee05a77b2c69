"""From wanted replicas to nodes and workers: the targets of every pool and worker group, with reasons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from controller.domain.identity import DeploymentId
from controller.domain.nodes import Node, NodeState
from controller.domain.placement import ClusterInput, ClusterPlan, GroupTarget, PoolTarget, Unplaced
from controller.domain.workers import WorkerGroup
from controller.planner.placement.build import Scene, node_problem, present_replicas, scene, worker_problem
from controller.planner.placement.objective import served
from controller.planner.placement.pending import without_pending
from controller.planner.placement.problem import Origin, Packing, Problem, ReplicaClass
from controller.planner.placement.program import Effort
from controller.planner.placement.reasons import Aftermath, Hurdle
from controller.planner.placement.solve import solve

_NORMAL = Effort()


def plan_cluster(given: ClusterInput, *, now: float, effort: Effort = _NORMAL) -> ClusterPlan:
    """Plan nodes for all that is wanted, then the workers to have by now on the nodes that are there.

    Running replicas stay where they are. Nodes with replicas on them stay too; only empty ones that nothing
    needs are released. While the nodes are unknown nothing is planned. The same input in another order gives
    the same plan.
    """
    if given.nodes is None:
        return ClusterPlan(held="the nodes are unknown: pools and worker groups stay as they are")
    seen = scene(given, given.nodes, now=now)
    problem = node_problem(seen)
    packing, nodes_solved = solve(problem, effort)
    released = _released(problem, packing)
    hosting = worker_problem(
        seen, {node.name for node in seen.nodes} - {one for names in released.values() for one in names}
    )
    workers, workers_solved = solve(hosting, effort)
    pools = without_pending(
        _pool_targets(seen, problem, packing, released, _manned(seen, hosting, workers)),
        given,
        {group.name: _new_workers(workers, group.name) for group in given.groups},
    )
    aftermath = Aftermath.of(seen, problem, packing)
    counts = served(problem, packing)
    short = [
        (replicas, replicas.count - count.placed)
        for replicas, count in zip(problem.classes, counts, strict=True)
        if count.placed < replicas.count
    ]
    late = [
        (replicas, count.placed - count.on_time)
        for replicas, count in zip(problem.classes, counts, strict=True)
        if count.on_time < count.placed
    ]
    return ClusterPlan(
        pools=pools,
        groups=tuple(
            _group_target(
                group,
                seen.nodes,
                _new_workers(packing, group.name),
                packing if given.nodes_follow else workers,
            )
            for group in sorted(given.groups, key=lambda group: group.name)
        ),
        unplaced=_unplaced(aftermath, short),
        late=tuple(sorted(_by_owner(late).items())),
        housed=_housed(seen, hosting, workers),
        nodes_solved=nodes_solved,
        workers_solved=workers_solved,
        binding=aftermath.binding([replicas for replicas, _ in short]),
    )


def _housed(seen: Scene, hosting: Problem, workers: Packing) -> tuple[tuple[DeploymentId, int], ...]:
    """Replicas that are there and stay, with those that have a place on ready nodes."""
    counts = served(hosting, workers)
    lacking = [
        (replicas, replicas.count - count.placed)
        for replicas, count in zip(hosting.classes, counts, strict=True)
        if count.placed < replicas.count
    ]
    wanted = Counter[DeploymentId]()
    for replicas in hosting.classes:
        wanted.update(dict(replicas.members))
    short = _by_owner(lacking)
    there = present_replicas(seen.nodes)
    return tuple(
        (demand.id, there.get(demand.id, 0) + wanted[demand.id] - short.get(demand.id, 0))
        for demand in sorted(seen.given.demands, key=lambda demand: demand.id)
    )


def _released(problem: Problem, packing: Packing) -> Mapping[str, Sequence[str]]:
    """Empty nodes of each pool that nothing needs."""
    used = Counter(use.host for use in packing.hosts)
    released: dict[str, list[str]] = defaultdict(list)
    for index, kind in enumerate(problem.hosts):
        if kind.origin is Origin.EMPTY:
            released[kind.pool] += kind.names[used[index] :]
    return released


def _manned(seen: Scene, hosting: Problem, workers: Packing) -> Counter[str]:
    """Nodes of each pool on which the first worker is to be started now."""
    bare = {node.name for node in seen.nodes if not _has_work(node)}
    started = Counter(use.host for use in workers.hosts if any(worker.new for worker in use.workers))
    manned = Counter[str]()
    for index, count in started.items():
        kind = hosting.hosts[index]
        manned[kind.pool] += min(count, sum(name in bare for name in kind.names))
    return manned


def _has_work(node: Node) -> bool:
    return bool(node.workers) or node.foreign_gpus > 0


def _pool_targets(
    seen: Scene, problem: Problem, packing: Packing, released: Mapping[str, Sequence[str]], manned: Mapping[str, int]
) -> tuple[PoolTarget, ...]:
    used = Counter(use.host for use in packing.hosts)
    coming: Counter[str] = Counter()
    new: Counter[str] = Counter()
    for index, kind in enumerate(problem.hosts):
        if kind.origin is Origin.COMING:
            coming[kind.pool] += used[index]
        elif kind.origin is Origin.NEW:
            new[kind.pool] += used[index]
    return tuple(
        _pool_target(
            name,
            seen,
            released.get(name, ()),
            coming=coming[name],
            new=new[name],
            manned=manned.get(name, 0),
        )
        for name in seen.pools
    )


def _pool_target(
    pool: str, seen: Scene, releasable: Collection[str], *, coming: int, new: int, manned: int
) -> PoolTarget:
    present = [node for node in seen.nodes if node.pool == pool]
    gone = {node.name for node in present if node.state is NodeState.DRAINING and not node.in_use} | set(releasable)
    bare = sum(node.name not in gone and not _has_work(node) for node in present)
    return PoolTarget(
        pool=pool,
        nodes=len(present) - len(gone) + coming + new,
        present=len(present),
        in_use=sum(node.in_use for node in present),
        coming=coming,
        new=new,
        called_off=max(0, seen.coming.get(pool, 0) - coming),
        vacant=max(0, bare - manned) + coming + new,
        releasable=tuple(sorted(releasable)),
    )


def _group_target(group: WorkerGroup, nodes: Iterable[Node], planned: int, packing: Packing) -> GroupTarget:
    """Bounds that start what is to be started by now and never stop a worker that has replicas.

    Ray stops workers beyond the most, busy ones too, so the most is not below those that are there; idle ones
    go by Ray's own timeout once the least allows it. While workers are started, the most leaves no room for others:
    what Ray decided to add before it saw the new least, it adds to that.
    """
    workers = [worker for node in nodes for worker in node.workers if worker.group == group.name]
    busy = sum(bool(worker.occupants) for worker in workers)
    idle = sum(
        use.group == group.name and not use.new and use.gpus == group.gpus_per_worker
        for host in packing.hosts
        for use in host.workers
    )
    started = _new_workers(packing, group.name)
    most = min(len(workers) + (started or planned), max(group.max_workers, busy))
    least = min(busy + idle + started, max(group.max_workers, busy))
    least = max(least, group.min_workers)
    return GroupTarget(
        group=group.name, min_workers=least, max_workers=max(most, least), present=len(workers), busy=busy
    )


def _new_workers(packing: Packing, group: str) -> int:
    return sum(worker.new and worker.group == group for use in packing.hosts for worker in use.workers)


def _unplaced(aftermath: Aftermath, short: Sequence[tuple[ReplicaClass, int]]) -> tuple[Unplaced, ...]:
    hurdles: dict[DeploymentId, tuple[Hurdle, ...]] = {}
    for replicas, _ in reversed(short):
        why = aftermath.why_unplaced(replicas)
        hurdles |= {owner: why for owner, _ in replicas.members}
    return tuple(
        Unplaced(
            id=owner,
            replicas=count,
            obstacle=hurdles[owner][0].obstacle,
            detail="; ".join(hurdle.detail for hurdle in hurdles[owner]),
        )
        for owner, count in sorted(_by_owner(short).items())
    )


def _by_owner(lacking: Iterable[tuple[ReplicaClass, int]]) -> Mapping[DeploymentId, int]:
    """Share out what a class lacks among its deployments: each time the one goes short that has most left."""
    total: Counter[DeploymentId] = Counter()
    for replicas, count in lacking:
        left = dict(replicas.members)
        for _ in range(count):
            shortest = max(sorted(left), key=lambda owner: (left[owner] / dict(replicas.members)[owner], left[owner]))
            left[shortest] -= 1
            total[shortest] += 1
    return total
