"""The exact assignment, as a small integer program over kinds instead of single nodes and replicas.

Hosts of a kind are cut into workers, free GPUs of workers into pieces of the sizes that replicas have, and
replicas of a class are counted into pieces. Which replica comes to lie where is then read off the counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.domain.placement import Criterion
from controller.planner.placement.objective import priorities, rank
from controller.planner.placement.patterns import cuts, full_cuts
from controller.planner.placement.problem import HostKind, Origin, Packing, Piece, Problem, Slot
from controller.planner.placement.program import Effort, Program, Terms
from controller.planner.placement.unpack import Counts, unpack


@dataclass(frozen=True, slots=True)
class ExactResult:
    """The best assignment found; another could be better by the share ``gap`` on the criterion ``unproven``."""

    packing: Packing
    unproven: int | None
    gap: float


@dataclass(slots=True)
class _Model:
    """The program with what its variables stand for."""

    problem: Problem
    program: Program = field(default_factory=Program)
    hosts: dict[int, int] = field(default_factory=dict)
    """Variable of each kind that is optional: how many are kept or ordered."""
    layouts: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)
    """Variable of (kind, workers of each of its groups): hosts with just these new workers."""
    splits: dict[tuple[Slot, tuple[int, ...]], int] = field(default_factory=dict)
    """Variable of (slot, pieces of each size): slots that are cut so."""
    placed: dict[tuple[int, int], int] = field(default_factory=dict)
    """Variable of (class, tier): pieces that the class gets there."""
    unplaced: dict[int, int] = field(default_factory=dict)
    late: dict[int, Terms] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    """GPUs that one unit of a variable misses to a least."""


def solve_exactly(problem: Problem, greedy: Sequence[Criterion], effort: Effort) -> ExactResult | None:
    """Find the assignment that no other beats on the criteria, or the best one within the effort.

    ``greedy`` is the valuation of an assignment that is known; None is returned when nothing was found.
    """
    model = _Model(problem)
    _add_hosts(model)
    _add_pieces(model)
    _add_limits(model)
    found = model.program.minimise(_objectives(model), _known(greedy), effort)
    if found is None:
        return None
    values = found.values
    counts = Counts(
        hosts={kind: int(values[variable]) for kind, variable in model.hosts.items()},
        layouts={key: int(values[variable]) for key, variable in model.layouts.items() if values[variable]},
        splits={key: int(values[variable]) for key, variable in model.splits.items() if values[variable]},
        placed={key: int(values[variable]) for key, variable in model.placed.items() if values[variable]},
    )
    return ExactResult(unpack(problem, counts), unproven=found.unproven, gap=found.gap)


def _known(greedy: Sequence[Criterion]) -> list[float | None]:
    known: list[float | None] = []
    for criterion in greedy:
        if criterion.value > 0:
            break
        known.append(0.0)
    return known + [None] * (len(greedy) - len(known))


def _add_hosts(model: _Model) -> None:
    for index, kind in enumerate(model.problem.hosts):
        if kind.optional:
            model.hosts[index] = model.program.variable(kind.count)
        sizes = tuple(model.problem.group(name).gpus for name in kind.groups)
        layouts = [layout for layout in cuts(kind.room, sizes) if any(layout)]
        for layout in layouts:
            model.layouts[index, layout] = model.program.variable(kind.count)
        row: dict[int, float] = {model.layouts[index, layout]: 1.0 for layout in layouts}
        if kind.optional:
            row[model.hosts[index]] = -1.0
        model.program.at_most(row, 0.0 if kind.optional else kind.count)


def _add_pieces(model: _Model) -> None:
    supply: dict[Piece, dict[int, float]] = defaultdict(dict)
    for slot, (constant, terms) in _slots(model).items():
        sizes = tuple(size for size in model.problem.piece_sizes(slot.accelerator) if size <= slot.gpus)
        row = {variable: -count for variable, count in terms.items()}
        for split in full_cuts(slot.gpus, sizes):
            variable = model.program.variable()
            model.splits[slot, split] = variable
            row[variable] = 1.0
            for size, count in zip(sizes, split, strict=True):
                if count:
                    supply[slot.accelerator, slot.tier, size][variable] = float(count)
        model.program.at_most(row, constant)
    taken = {piece: {variable: -count for variable, count in terms.items()} for piece, terms in supply.items()}
    for index in range(len(model.problem.classes)):
        _add_class(model, index, taken)
    for terms in taken.values():
        model.program.at_most(terms, 0.0)


def _slots(model: _Model) -> dict[Slot, tuple[float, dict[int, float]]]:
    """Slots that there are (a constant), or that come with hosts and with new workers (terms)."""
    constants: Counter[Slot] = Counter()
    terms: dict[Slot, Counter[int]] = defaultdict(Counter)
    for index, kind in enumerate(model.problem.hosts):
        for worker in kind.workers:
            slot = Slot(kind.accelerator, worker.free_gpus, worker.tier)
            if kind.optional:
                terms[slot][model.hosts[index]] += 1
            else:
                constants[slot] += kind.count
    for (index, layout), variable in model.layouts.items():
        kind = model.problem.hosts[index]
        for name, count in zip(kind.groups, layout, strict=True):
            terms[Slot(kind.accelerator, model.problem.group(name).gpus, kind.room_tier)][variable] += count
    return {
        slot: (float(constants[slot]), {variable: float(count) for variable, count in terms[slot].items() if count})
        for slot in sorted({*constants, *terms})
    }


def _add_class(model: _Model, index: int, taken: dict[Piece, dict[int, float]]) -> None:
    replicas = model.problem.classes[index]
    size = replicas.piece
    tiers = sorted(tier for accelerator, tier, piece in taken if (accelerator, piece) == (replicas.accelerator, size))
    for tier in tiers:
        variable = model.program.variable(replicas.count * replicas.gpus // size)
        model.placed[index, tier] = variable
        taken[replicas.accelerator, tier, size][variable] = 1.0
    unplaced = model.program.variable(replicas.count)
    model.unplaced[index] = unplaced
    pieces = {model.placed[index, tier]: 1.0 for tier in tiers}
    model.program.exactly({**pieces, unplaced: replicas.gpus / size}, replicas.count * replicas.gpus / size)
    if replicas.strict:
        model.late[index] = {model.placed[index, tier]: 1.0 for tier in tiers if tier > replicas.tier}
        return
    late = model.program.variable(replicas.count)
    model.late[index] = {late: 1.0}
    too_late = {model.placed[index, tier]: 1.0 for tier in tiers if tier > replicas.tier}
    model.program.at_most({**too_late, late: -float(replicas.gpus)} if too_late else {}, 0.0)


def _add_limits(model: _Model) -> None:
    problem = model.problem
    for group in problem.groups:
        new = _new_workers(model, group.name)
        model.program.at_most(new, group.left)
        if group.missing:
            lacking = model.program.variable(group.missing)
            model.missing[lacking] = group.gpus
            there = Counter(new)
            for index, variable in model.hosts.items():
                there[variable] += sum(worker.group == group.name for worker in problem.hosts[index].workers)
            row = {variable: -float(count) for variable, count in there.items() if count}
            model.program.at_most({**row, lacking: -1.0}, -group.missing)
    new_hosts = {index: problem.hosts[index] for index in model.hosts if problem.hosts[index].origin is Origin.NEW}
    if problem.cost_left is not None:
        model.program.at_most({model.hosts[index]: kind.cost for index, kind in new_hosts.items()}, problem.cost_left)
    if problem.gpus_left is not None:
        gpus = {model.hosts[index]: float(kind.gpus) for index, kind in new_hosts.items()}
        model.program.at_most(gpus, problem.gpus_left)
    for pool, missing in problem.missing_nodes.items():
        kinds = {index: kind for index, kind in _kinds(model) if kind.pool == pool}
        if kinds:
            lacking = model.program.variable(missing)
            model.missing[lacking] = next(iter(kinds.values())).gpus
            row = {model.hosts[index]: -1.0 for index in kinds}
            model.program.at_most({**row, lacking: -1.0}, -missing)


def _objectives(model: _Model) -> list[Terms]:
    """The criteria of ``objective.criteria``, in the same order."""
    classes, hosts = model.problem.classes, list(_kinds(model))
    unplaced = [
        {
            model.unplaced[index]: float(replicas.value)
            for index, replicas in enumerate(classes)
            if replicas.tier == tier
        }
        for tier in range(model.problem.tiers)
    ]
    late = {
        variable: count * classes[index].value
        for index, terms in model.late.items()
        for variable, count in terms.items()
    }
    spend = [
        {
            model.hosts[index]: kind.cost
            for index, kind in hosts
            if kind.origin is Origin.NEW and kind.priority == priority and kind.cost
        }
        for priority in priorities(model.problem)
    ]
    new_workers: Counter[int] = Counter()
    for (_, layout), variable in model.layouts.items():
        new_workers[variable] = sum(layout)
    return [
        *unplaced,
        late,
        {variable: float(gpus) for variable, gpus in model.missing.items()},
        *spend,
        {model.hosts[index]: 1.0 for index, kind in hosts if kind.origin is Origin.NEW},
        {model.hosts[index]: kind.cost for index, kind in hosts if kind.cost},
        {model.hosts[index]: 1.0 for index, _ in hosts},
        {variable: float(count) for variable, count in new_workers.items()},
        {model.hosts[index]: float(rank(model.problem, index)) for index, _ in hosts},
    ]


def _kinds(model: _Model) -> list[tuple[int, HostKind]]:
    return [(index, model.problem.hosts[index]) for index in model.hosts]


def _new_workers(model: _Model, group: str) -> dict[int, float]:
    new: dict[int, float] = {}
    for (index, layout), variable in model.layouts.items():
        count = sum(
            count for name, count in zip(model.problem.hosts[index].groups, layout, strict=True) if name == group
        )
        if count:
            new[variable] = float(count)
    return new
