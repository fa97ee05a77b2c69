"""Why replicas have no place, and which limits shaped a plan, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.domain.placement import Obstacle
from controller.domain.pools import NodePool
from controller.planner.placement.build import Scene
from controller.planner.placement.problem import Origin, Packing, Problem, ReplicaClass

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Hurdle:
    """One thing that stands in the way."""

    obstacle: Obstacle
    detail: str


@dataclass(frozen=True, slots=True)
class Aftermath:
    """A solved problem, seen from its limits: what is left of each once everything is placed."""

    seen: Scene
    problem: Problem
    new_nodes: Mapping[str, int]
    new_workers: Mapping[str, int]

    @classmethod
    def of(cls, seen: Scene, problem: Problem, packing: Packing) -> Aftermath:
        """Count what the assignment adds."""
        kinds = (problem.hosts[use.host] for use in packing.hosts)
        workers = (worker for use in packing.hosts for worker in use.workers)
        return cls(
            seen,
            problem,
            Counter(kind.pool for kind in kinds if kind.origin is Origin.NEW),
            Counter(worker.group for worker in workers if worker.new),
        )

    def why_unplaced(self, replicas: ReplicaClass) -> tuple[Hurdle, ...]:
        """Everything that keeps one more replica of a class from having a place, never empty."""
        pools = [pool for pool in self.seen.pools.values() if pool.accelerator == replicas.accelerator]
        if not pools:
            return (Hurdle(Obstacle.NO_POOL, f"no node pool has {replicas.accelerator}"),)
        usable = {pool.name: self.seen.groups_for(pool) for pool in pools}
        if not any(usable.values()):
            return (Hurdle(Obstacle.NO_WORKER_GROUP, f"no worker group may run in a pool with {replicas.accelerator}"),)
        largest = max(
            (
                group.gpus_per_worker
                for pool in pools
                for group in usable[pool.name]
                if group.gpus_per_worker <= pool.gpus_per_node
            ),
            default=0,
        )
        if largest < replicas.piece:
            words = f"needs {replicas.gpus} GPUs in one worker; the largest one that fits a node has {largest}"
            return (Hurdle(Obstacle.TOO_LARGE, words),)
        ordered = sorted(pools, key=lambda pool: (pool.priority, pool.node_cost, pool.name))
        hurdles = [hurdle for pool in ordered if (hurdle := self._of_pool(pool, replicas)) is not None]
        hurdles += self._of_groups(replicas, ordered)
        fragments = self._fragments(replicas)
        if not hurdles:
            hurdles.append(Hurdle(Obstacle.OUTRANKED, "others, due sooner or with more weight, took what there was"))
        return (*hurdles, *fragments)

    def binding(self, unplaced: Sequence[ReplicaClass]) -> tuple[str, ...]:
        """Limits that ended something: where replicas have no place, or a pool of a later priority is drawn on."""
        short = {replicas.accelerator for replicas in unplaced}
        found: list[str] = []
        for pool in self.seen.pools.values():
            rivals = (other for other in self.seen.pools.values() if other.accelerator == pool.accelerator)
            passed_over = any(
                self.new_nodes[rival.name] and (rival.priority, rival.node_cost) > (pool.priority, pool.node_cost)
                for rival in rivals
            )
            hurdle = self._of_pool(pool, None)
            if hurdle is not None and (passed_over or pool.accelerator in short):
                found.append(hurdle.detail)
        for group in self.problem.groups:
            accelerator = next(known.accelerator for known in self.seen.given.groups if known.name == group.name)
            if accelerator in short and self.new_workers[group.name] >= group.left:
                found.append(self._group_words(group.name))
        return tuple(dict.fromkeys(found))

    def _of_pool(self, pool: NodePool, replicas: ReplicaClass | None) -> Hurdle | None:
        room = self.seen.headrooms[pool.name]
        if self.new_nodes[pool.name] >= room.nodes:
            more = f" and {self.new_nodes[pool.name]} new" if self.new_nodes[pool.name] else ""
            return Hurdle(room.obstacle, room.detail + more)
        fits = replicas is None or any(
            replicas.piece <= group.gpus_per_worker <= pool.gpus_per_node for group in self.seen.groups_for(pool)
        )
        if not fits:
            return Hurdle(Obstacle.TOO_LARGE, f"{pool.name}: no worker there is large enough")
        return self._of_budget(pool)

    def _of_budget(self, pool: NodePool) -> Hurdle | None:
        pools, left = self.seen.pools, self.problem
        spent = sum(pools[name].node_cost * count for name, count in self.new_nodes.items())
        gpus = sum(pools[name].gpus_per_node * count for name, count in self.new_nodes.items())
        if left.cost_left is not None and spent + pool.node_cost > left.cost_left + _ROUNDING:
            rest = f"{left.cost_left - spent:.2f} of {self.seen.given.budget.cost_per_hour:.2f} per hour left"
            return Hurdle(Obstacle.BUDGET, f"{pool.name}: budget, {rest}, a node costs {pool.node_cost:.2f}")
        if left.gpus_left is not None and gpus + pool.gpus_per_node > left.gpus_left:
            rest = f"{left.gpus_left - gpus} of {self.seen.given.budget.gpus} GPUs left"
            return Hurdle(Obstacle.BUDGET, f"{pool.name}: budget, {rest}, a node has {pool.gpus_per_node}")
        return None

    def _of_groups(self, replicas: ReplicaClass, pools: Sequence[NodePool]) -> Iterator[Hurdle]:
        able = {
            group.name
            for pool in pools
            for group in self.seen.groups_for(pool)
            if replicas.piece <= group.gpus_per_worker <= pool.gpus_per_node
        }
        for name in sorted(able):
            if self.new_workers[name] >= self.problem.group(name).left:
                yield Hurdle(Obstacle.GROUP_AT_MAX, self._group_words(name))

    def _group_words(self, name: str) -> str:
        most = next(group.max_workers for group in self.seen.given.groups if group.name == name)
        there = sum(worker.group == name for node in self.seen.nodes for worker in node.workers)
        return f"worker group {name}: at most {most} workers, {there} there and {self.new_workers[name]} new"

    def _fragments(self, replicas: ReplicaClass) -> Iterator[Hurdle]:
        """Free GPUs that are there, but in pieces that are too small."""
        pieces = [
            gpus
            for node in self.seen.nodes
            if self.seen.pools[node.pool].accelerator == replicas.accelerator
            for gpus in (node.free_gpus, *(worker.free_gpus for worker in node.workers))
            if gpus > 0
        ]
        if replicas.strict and pieces and max(pieces) < replicas.gpus <= sum(pieces):
            words = f"{sum(pieces)} GPUs are free, but at most {max(pieces)} together where {replicas.gpus} are needed"
            yield Hurdle(Obstacle.TOO_LARGE, words)
