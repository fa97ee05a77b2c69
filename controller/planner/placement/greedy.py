"""An assignment that is always found, at once: one replica after another to the place that fits it best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.planner.placement.ground import Ground
from controller.planner.placement.problem import HostKind, Load, Origin, Packing, Problem, ReplicaClass, Slot

_LEAST = 0, 0.0
"""Priority and cost of what is there already."""

Rank = tuple[bool, int, int, float, int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One way to get GPUs. ``rank`` compares ways, the best lowest.

    ``host`` is an optional kind to be used for it; ``room`` and ``group`` are where a worker is to be added,
    and ``slot`` is taken otherwise.
    """

    rank: Rank
    host: int | None = None
    slot: Slot | None = None
    room: tuple[int, int] | None = None
    group: str = ""


def solve_greedily(problem: Problem) -> Packing:
    """Place the most urgent, weighty and large replicas first, each in time if it can be, then where it costs least.

    Free GPUs of workers come first, the tightest fit, then room on nodes in use, then nodes that are empty or
    coming, then new ones by the priority and cost of their pools. Then nodes and workers are added up to the
    least of their pools and groups. Every limit holds at every step.
    """
    ground = Ground.of(problem)
    for index in sorted(range(len(problem.classes)), key=lambda index: _urgency(problem.classes[index], index)):
        replicas = problem.classes[index]
        for done in range(replicas.count):
            if not _place(ground, index, replicas.count - done):
                break
    for pool, missing in sorted(problem.missing_nodes.items()):
        _fill_up_nodes(ground, pool, missing)
    for group in problem.groups:
        _fill_up_workers(ground, group.name, group.missing)
    return ground.packing()


def _urgency(replicas: ReplicaClass, index: int) -> tuple[int, int, int, int]:
    return replicas.tier, -replicas.weight, -replicas.gpus, index


def _place(ground: Ground, index: int, left: int) -> bool:
    """Place one replica whole, or leave everything as it was. ``left`` is how many more of its class there are."""
    replicas = ground.problem.classes[index]
    for _ in range(replicas.gpus // replicas.piece):
        place = min(_places(ground, replicas, left), key=lambda place: place.rank, default=None)
        if place is None:
            ground.take_back()
            return False
        if place.host is not None:
            ground.use(place.host)
        slot = place.slot or ground.add_worker(*_room(place), place.group)
        ground.load(slot, Load(index, replicas.piece))
    ground.keep()
    return True


def _room(place: _Place) -> tuple[int, int]:
    if place.room is None:
        msg = "a place is a slot or a room"
        raise ValueError(msg)
    return place.room


def _places(ground: Ground, replicas: ReplicaClass, left: int) -> Iterator[_Place]:
    for slot, workers in ground.workers.items():
        if workers and slot.accelerator == replicas.accelerator and slot.gpus >= replicas.piece:
            yield _Place(rank=(slot.tier > replicas.tier, 0, *_LEAST, slot.gpus, slot.tier, ""), slot=slot)
    for (index, room), hosts in ground.rooms.items():
        kind = ground.problem.hosts[index]
        if hosts and kind.accelerator == replicas.accelerator:
            for group, gpus in _groups(ground, kind, room, replicas.piece):
                rank = (kind.room_tier > replicas.tier, 1, *_LEAST, room - gpus, kind.room_tier, group)
                yield _Place(rank=rank, room=(index, room), group=group)
    for index, kind in enumerate(ground.problem.hosts):
        if kind.accelerator == replicas.accelerator and ground.may_use(index):
            yield from _on_more_hosts(ground, index, replicas, left)


def _on_more_hosts(ground: Ground, index: int, replicas: ReplicaClass, left: int) -> Iterator[_Place]:
    kind = ground.problem.hosts[index]
    # A large node is cheap only for as many replicas as there are to fill it.
    share = kind.cost / max(1, min(left, kind.gpus // replicas.gpus))
    step = 3 if kind.origin is Origin.NEW else 2
    for worker in kind.workers:
        if worker.free_gpus >= replicas.piece:
            late = worker.tier > replicas.tier
            slot = Slot(kind.accelerator, worker.free_gpus, worker.tier)
            yield _Place(rank=(late, step, kind.priority, share, index, 0, ""), host=index, slot=slot)
    for group, gpus in _groups(ground, kind, kind.room, replicas.piece):
        rank = (kind.room_tier > replicas.tier, step, kind.priority, share, index, gpus, group)
        yield _Place(rank=rank, host=index, room=(index, kind.room), group=group)


def _groups(ground: Ground, kind: HostKind, room: int, least: int) -> Iterator[tuple[str, int]]:
    """Groups, with their GPUs, of which a worker fits into the room, is large enough, and may be added."""
    for name in kind.groups:
        gpus = ground.problem.group(name).gpus
        if least <= gpus <= room and ground.groups[name] > 0:
            yield name, gpus


def _fill_up_nodes(ground: Ground, pool: str, missing: int) -> None:
    for index, kind in enumerate(ground.problem.hosts):
        while kind.pool == pool and ground.used(pool) < missing and ground.may_use(index):
            ground.use(index)
            ground.keep()


def _fill_up_workers(ground: Ground, group: str, missing: int) -> None:
    while ground.gained(group) < missing:
        if not (_add_on_used(ground, group) or _add_on_more(ground, group)):
            return
        ground.keep()


def _add_on_used(ground: Ground, group: str) -> bool:
    for (index, room), hosts in sorted(ground.rooms.items()):
        if hosts and any(name == group for name, _ in _groups(ground, ground.problem.hosts[index], room, 1)):
            ground.add_worker(index, room, group)
            return True
    return False


def _add_on_more(ground: Ground, group: str) -> bool:
    for index, kind in enumerate(ground.problem.hosts):
        if not (kind.optional and ground.may_use(index)):
            continue
        has_it = any(worker.group == group for worker in kind.workers)
        fits = any(name == group for name, _ in _groups(ground, kind, kind.room, 1))
        if has_it or fits:
            ground.use(index)
            if not has_it:
                ground.add_worker(index, kind.room, group)
            return True
    return False
