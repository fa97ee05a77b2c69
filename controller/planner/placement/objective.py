"""What makes one assignment better than another: a list of criteria, the most important first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.placement import Criterion
from controller.planner.placement.problem import HostKind, Origin, Packing, Problem, ReplicaClass, WorkerUse

TOLERANCE = 1e-6
"""How far a solver may miss a bound, relatively."""

_SAME = 1e-5
"""Relative difference below which two values of a criterion are the same."""


@dataclass(frozen=True, slots=True)
class Served:
    """How many replicas of a class have a place, and how many of those in time."""

    placed: int
    on_time: int


def criteria(problem: Problem, packing: Packing) -> tuple[Criterion, ...]:
    """Value an assignment, each criterion to be minimised before the next is looked at.

    Replicas without a place (those due first, first), replicas that are late, nodes and workers missing to
    the least, what new nodes cost in the pools of the last priority, then of the one before it, and so on,
    how many new nodes there are (so that nothing that exists or is coming is given up for a new one), what
    all optional nodes cost, how many they are, and new workers. Where all that is equal, nodes that exist are
    kept rather than those that are coming, and so on in canonical order: a tie must not be broken one way now
    and the other way in the next plan.
    """
    counts = served(problem, packing)
    kinds = [problem.hosts[use.host] for use in packing.hosts]
    optional = [kind for kind in kinds if kind.optional]
    new = [kind for kind in optional if kind.origin is Origin.NEW]
    workers = [worker for use in packing.hosts for worker in use.workers]
    unplaced = [
        Criterion(
            f"weighted GPUs without a place, due {ordinal(tier)}", float(_unplaced(problem.classes, counts, tier))
        )
        for tier in range(problem.tiers)
    ]
    late = sum(
        replicas.value * (count.placed - count.on_time) for replicas, count in zip(problem.classes, counts, strict=True)
    )
    spend = [
        Criterion(
            f"cost of new nodes of order {priority}",
            sum(kind.cost for kind in new if kind.priority == priority),
        )
        for priority in priorities(problem)
    ]
    return (
        *unplaced,
        Criterion("weighted GPUs that are late", float(late)),
        Criterion(
            "GPUs missing to the least of pools and groups", float(_missing(problem, optional, workers, packing))
        ),
        *spend,
        Criterion("new nodes", float(len(new))),
        Criterion("cost of nodes kept and added", sum(kind.cost for kind in optional)),
        Criterion("nodes kept and added", float(len(optional))),
        Criterion("new workers", float(sum(worker.new for worker in workers))),
        Criterion("rank of nodes kept and added", float(sum(rank(problem, use.host) for use in packing.hosts))),
    )


def better(one: Sequence[Criterion], other: Sequence[Criterion]) -> bool:
    """Whether the first of two valuations of the same problem is really better."""
    for mine, theirs in zip(one, other, strict=True):
        if abs(mine.value - theirs.value) > _SAME * max(1.0, abs(theirs.value)):
            return mine.value < theirs.value
    return False


def served(problem: Problem, packing: Packing) -> tuple[Served, ...]:
    """Count the replicas of each class that are placed, and those in time.

    GPUs of replicas that may span workers are interchangeable: as many are in time as the GPUs that are make
    whole ones.
    """
    gpus: Counter[int] = Counter()
    in_time: Counter[int] = Counter()
    for use in packing.hosts:
        for worker in use.workers:
            for load in worker.loads:
                gpus[load.replica_class] += load.gpus
                if worker.tier <= problem.classes[load.replica_class].tier:
                    in_time[load.replica_class] += load.gpus
    return tuple(
        Served(gpus[index] // replicas.gpus, in_time[index] // replicas.gpus)
        for index, replicas in enumerate(problem.classes)
    )


def priorities(problem: Problem) -> tuple[int, ...]:
    """Priorities of pools that could get new nodes, the last to be used first."""
    found = {kind.priority for kind in problem.hosts if kind.origin is Origin.NEW}
    return tuple(sorted(found, reverse=True))


def rank(problem: Problem, host: int) -> int:
    """Give the place of an optional kind in the order of preference; 0 for hosts that stay anyway."""
    kind = problem.hosts[host]
    if not kind.optional:
        return 0
    return len(problem.hosts) * tuple(Origin).index(kind.origin) + host


def ordinal(tier: int) -> str:
    """Say which of the moments it is."""
    return ("first", "second", "third")[tier] if tier < 3 else f"{tier + 1}th"  # noqa: PLR2004 - as spelled here


def _unplaced(classes: Sequence[ReplicaClass], counts: Sequence[Served], tier: int) -> int:
    return sum(
        replicas.value * (replicas.count - count.placed)
        for replicas, count in zip(classes, counts, strict=True)
        if replicas.tier == tier
    )


def _missing(problem: Problem, optional: Sequence[HostKind], workers: Sequence[WorkerUse], packing: Packing) -> int:
    nodes = Counter(kind.pool for kind in optional)
    gpus = {kind.pool: kind.gpus for kind in problem.hosts}
    missing_nodes = sum(
        gpus[pool] * max(0, missing - nodes[pool]) for pool, missing in problem.missing_nodes.items() if pool in gpus
    )
    got = Counter(worker.group for worker in workers if worker.new)
    for use in packing.hosts:
        if problem.hosts[use.host].optional:
            got.update(worker.group for worker in problem.hosts[use.host].workers)
    return missing_nodes + sum(group.gpus * max(0, group.missing - got[group.name]) for group in problem.groups)
