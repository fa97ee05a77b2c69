"""Reads an assignment of single replicas to single workers off the counts of a solved program."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controller.planner.placement.problem import HostUse, Load, Packing, Piece, Problem, Slot, WorkerUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a program decides, zeros left out.

    ``hosts``: how many of an optional kind are kept or ordered. ``layouts``: how many hosts of a kind get
    just these new workers, one count for each of its groups. ``splits``: how many slots are cut into just
    these pieces, one count for each size. ``placed``: pieces that a class gets in a tier.
    """

    hosts: Mapping[int, int]
    layouts: Mapping[tuple[int, tuple[int, ...]], int]
    splits: Mapping[tuple[Slot, tuple[int, ...]], int]
    placed: Mapping[tuple[int, int], int]


@dataclass(slots=True)
class OpenWorker:
    """A worker that is being filled. ``gpus`` are those it had free before."""

    group: str
    gpus: int
    tier: int
    new: bool
    loads: list[Load] = field(default_factory=list)

    def closed(self, problem: Problem) -> WorkerUse:
        """What came of it; parts of one class that may span workers are one load."""
        spread: Counter[int] = Counter()
        loads: list[Load] = []
        for load in self.loads:
            if problem.classes[load.replica_class].strict:
                loads.append(load)
            else:
                spread[load.replica_class] += load.gpus
        together = (Load(replica_class, gpus) for replica_class, gpus in sorted(spread.items()))
        return WorkerUse(group=self.group, gpus=self.gpus, tier=self.tier, new=self.new, loads=(*loads, *together))


def unpack(problem: Problem, counts: Counts) -> Packing:
    """Lay the counted hosts, workers, pieces and replicas out, each next to what it was counted for."""
    hosts = [(index, list(_workers(problem, index, layout))) for index, layout in _laid_out(problem, counts)]
    slots: dict[Slot, list[OpenWorker]] = defaultdict(list)
    for index, workers in hosts:
        for worker in workers:
            slots[Slot(problem.hosts[index].accelerator, worker.gpus, worker.tier)].append(worker)
    pieces = _pieces(problem, counts, slots)
    for (replica_class, tier), count in sorted(counts.placed.items()):
        replicas = problem.classes[replica_class]
        free = pieces[replicas.accelerator, tier, replicas.piece]
        for _ in range(count):
            free.pop().loads.append(Load(replica_class, replicas.piece))
    return closed(problem, hosts)


def closed(problem: Problem, hosts: list[tuple[int, list[OpenWorker]]]) -> Packing:
    """Leave out what is neither used nor new nor optional."""
    uses = [
        HostUse(index, tuple(worker.closed(problem) for worker in workers if worker.new or worker.loads))
        for index, workers in hosts
    ]
    return Packing(tuple(use for use in uses if use.workers or problem.hosts[use.host].optional))


def _laid_out(problem: Problem, counts: Counts) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Every host of every kind with its new workers, one count for each group."""
    for index, kind in enumerate(problem.hosts):
        number = counts.hosts[index] if kind.optional else kind.count
        layouts = [
            layout for (found, layout), count in sorted(counts.layouts.items()) if found == index for _ in range(count)
        ]
        none = (0,) * len(kind.groups)
        for position in range(number):
            yield index, layouts[position] if position < len(layouts) else none


def _workers(problem: Problem, index: int, layout: tuple[int, ...]) -> Iterator[OpenWorker]:
    kind = problem.hosts[index]
    for worker in kind.workers:
        yield OpenWorker(worker.group, worker.free_gpus, worker.tier, new=False)
    for name, count in zip(kind.groups, layout, strict=True):
        for _ in range(count):
            yield OpenWorker(name, problem.group(name).gpus, kind.room_tier, new=True)


def _pieces(
    problem: Problem, counts: Counts, slots: Mapping[Slot, list[OpenWorker]]
) -> Mapping[Piece, list[OpenWorker]]:
    pieces: dict[Piece, list[OpenWorker]] = defaultdict(list)
    uncut = {slot: list(reversed(workers)) for slot, workers in slots.items()}
    for (slot, split), count in sorted(counts.splits.items()):
        sizes = [size for size in problem.piece_sizes(slot.accelerator) if size <= slot.gpus]
        for _ in range(count):
            worker = uncut[slot].pop()
            for size, number in zip(sizes, split, strict=True):
                pieces[slot.accelerator, slot.tier, size] += [worker] * number
    return pieces
