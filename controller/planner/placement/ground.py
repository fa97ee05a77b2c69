"""What is used and what is left while replicas are placed one by one; every step can be taken back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.planner.placement.problem import HostKind, Load, Origin, Packing, Problem, Slot
from controller.planner.placement.unpack import OpenWorker, closed

_ROUNDING = 1e-9


@dataclass(slots=True, eq=False)
class _Host:
    index: int
    room: int
    workers: list[OpenWorker]


@dataclass(slots=True)
class Ground:
    """Workers with free GPUs and hosts with room, by what they have free, and hosts that are not used yet.

    The last one put somewhere is the first one taken from there, so that steps can be taken back in reverse.
    """

    problem: Problem
    workers: dict[Slot, list[OpenWorker]] = field(default_factory=lambda: defaultdict(list))
    rooms: dict[tuple[int, int], list[_Host]] = field(default_factory=lambda: defaultdict(list))
    """Hosts in use by kind and GPUs without a worker."""
    unused: dict[int, int] = field(default_factory=dict)
    """Optional hosts left, by kind."""
    groups: dict[str, int] = field(default_factory=dict)
    """Workers that may still be added to a group."""
    new_cost: float = 0.0
    new_gpus: int = 0
    _hosts: list[_Host] = field(default_factory=list)
    _done: list[Callable[[], object]] = field(default_factory=list)

    @classmethod
    def of(cls, problem: Problem) -> Ground:
        """Nothing placed, no optional host used."""
        ground = cls(
            problem,
            unused={index: kind.count for index, kind in enumerate(problem.hosts) if kind.optional},
            groups={group.name: group.left for group in problem.groups},
        )
        for index, kind in enumerate(problem.hosts):
            for _ in range(0 if kind.optional else kind.count):
                ground._enter(index)
        return ground

    def may_use(self, index: int) -> bool:
        """Whether another host of an optional kind can be used within its number and the budget."""
        kind, problem = self.problem.hosts[index], self.problem
        if self.unused.get(index, 0) <= 0:
            return False
        if kind.origin is not Origin.NEW:
            return True
        within_cost = problem.cost_left is None or self.new_cost + kind.cost <= problem.cost_left + _ROUNDING
        return within_cost and (problem.gpus_left is None or self.new_gpus + kind.gpus <= problem.gpus_left)

    def use(self, index: int) -> None:
        """Keep or order one host of an optional kind."""
        kind = self.problem.hosts[index]
        is_new = kind.origin is Origin.NEW
        before = self.new_cost, self.new_gpus
        self.unused[index] -= 1
        self.new_cost += kind.cost if is_new else 0.0
        self.new_gpus += kind.gpus if is_new else 0
        host = self._enter(index)

        def back() -> None:
            self.unused[index] += 1
            self.new_cost, self.new_gpus = before
            self._hosts.pop()
            self.rooms[index, host.room].pop()
            for worker in reversed(host.workers):
                self.workers[_slot(kind, worker)].pop()

        self._done.append(back)

    def add_worker(self, index: int, room: int, group: str) -> Slot:
        """Start a worker of a group on the last host of a kind with so much room; return where it is found."""
        kind, gpus = self.problem.hosts[index], self.problem.group(group).gpus
        host = self.rooms[index, room].pop()
        worker = OpenWorker(group, gpus, kind.room_tier, new=True)
        host.workers.append(worker)
        host.room -= gpus
        self.rooms[index, host.room].append(host)
        self.groups[group] -= 1
        slot = _slot(kind, worker)
        self.workers[slot].append(worker)

        def back() -> None:
            self.workers[slot].pop()
            self.groups[group] += 1
            self.rooms[index, host.room].pop()
            host.room += gpus
            host.workers.pop()
            self.rooms[index, host.room].append(host)

        self._done.append(back)
        return slot

    def load(self, slot: Slot, load: Load) -> None:
        """Give GPUs of the last worker with just this slot free to a replica."""
        worker = self.workers[slot].pop()
        worker.loads.append(load)
        less = Slot(slot.accelerator, slot.gpus - load.gpus, slot.tier)
        self.workers[less].append(worker)

        def back() -> None:
            self.workers[less].pop()
            worker.loads.pop()
            self.workers[slot].append(worker)

        self._done.append(back)

    def keep(self) -> None:
        """Make everything so far final."""
        self._done.clear()

    def take_back(self) -> None:
        """Undo everything since the last ``keep``."""
        while self._done:
            self._done.pop()()

    def used(self, pool: str) -> int:
        """Optional hosts of a pool that are used."""
        kinds = (self.problem.hosts[host.index] for host in self._hosts)
        return sum(kind.optional and kind.pool == pool for kind in kinds)

    def gained(self, group: str) -> int:
        """Workers of a group that are new, or on optional hosts that are used."""
        return sum(
            worker.group == group and (worker.new or self.problem.hosts[host.index].optional)
            for host in self._hosts
            for worker in host.workers
        )

    def packing(self) -> Packing:
        """The assignment so far."""
        return closed(self.problem, [(host.index, host.workers) for host in self._hosts])

    def _enter(self, index: int) -> _Host:
        kind = self.problem.hosts[index]
        workers = [OpenWorker(worker.group, worker.free_gpus, worker.tier, new=False) for worker in kind.workers]
        host = _Host(index, kind.room, workers)
        self._hosts.append(host)
        self.rooms[index, kind.room].append(host)
        for worker in workers:
            self.workers[_slot(kind, worker)].append(worker)
        return host


def _slot(kind: HostKind, worker: OpenWorker) -> Slot:
    return Slot(kind.accelerator, worker.gpus - sum(load.gpus for load in worker.loads), worker.tier)
