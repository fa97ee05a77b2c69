"""One budget of GPUs, and of money, for all deployments together. The same bids give the same grants in any order.

Who gets how much when not all fit, replica by replica: first what nobody may lose (the least that the policy
asks for, and whatever is held while demand is unknown), then by priority, highest first: what is in flight, then
the rest in proportion to what is wanted, weighted by policy and by how much of late the objectives were missed.
Replicas that are held are moved to another deployment only for a clear difference, for moving one costs a start.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.domain.identity import DeploymentId

_STICKY = 0.8
"""A held replica counts as this much of its place in the queue."""
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Resource:
    """One limit over all deployments: ``limit`` of ``name`` (its unit in plain words)."""

    name: str
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """What one deployment wants and holds.

    ``target`` is the live target, ``alive`` the replicas that run or start, ``leaving`` those that hold resources
    until they have drained. ``expected`` is the highest target that may yet show, such as one that was asked for
    without an answer. ``assured`` nobody may take; ``in_flight`` no equal may. ``cost`` is what one replica takes
    of each resource. ``fixed`` bids are not decided here; what they are known to hold is ``wanted``.
    """

    id: DeploymentId
    wanted: int
    target: int
    alive: int
    expected: int
    leaving: int
    assured: int
    in_flight: int
    cost: tuple[float, ...]
    urgency: float
    priority: int
    max_step_down: int
    fixed: bool = False

    @property
    def running(self) -> int:
        """Replicas that hold resources now or will without any order, those that leave aside."""
        return max(self.alive, self.target)

    @property
    def reserved(self) -> int:
        """Replicas that hold resources now, or may yet."""
        return max(self.running, self.expected) + self.leaving


@dataclass(frozen=True, slots=True)
class Grant:
    """Replicas to set now, and those that the deployment is entitled to once what others hold has come free."""

    replicas: int
    entitled: int


def allocate(bids: Sequence[Bid], resources: Sequence[Resource]) -> Mapping[DeploymentId, Grant]:
    """Return a grant for every bid that is not fixed.

    Together they never take more than the limits, replicas that start or drain included; where more is held
    already, nobody is raised and those beyond their share are lowered.
    """
    ordered = sorted(bids, key=lambda bid: bid.id)
    open_bids = [bid for bid in ordered if not bid.fixed]
    entitled = _entitled(open_bids, _left(resources, [(bid, bid.wanted) for bid in ordered if bid.fixed]))
    held = [(bid, bid.reserved) for bid in ordered]
    now = _reached(open_bids, entitled, _left(resources, held))
    return {bid.id: Grant(now[bid.id], entitled[bid.id]) for bid in open_bids}


def spared(
    bids: Sequence[Bid], towards: Mapping[DeploymentId, int], resources: Sequence[Resource]
) -> Mapping[DeploymentId, int]:
    """Return how far each deployment may go ``towards`` more replicas than it wants, with what nobody holds or wants.

    Highest priority first. What is left out may not have more; so is everybody that takes of what is short already.
    """
    held = {bid.id: max(bid.reserved, bid.wanted + bid.leaving) for bid in bids}
    left = _left(resources, [(bid, held[bid.id]) for bid in bids])
    reached: dict[DeploymentId, int] = {}
    for bid in sorted(bids, key=lambda one: (-one.priority, one.id)):
        if bid.fixed or _is_short(left, bid.cost):
            continue
        given = bid.wanted
        while given < towards.get(bid.id, given):
            share = 1.0 if given + bid.leaving >= held[bid.id] else 0.0
            after = [rest - share * cost for cost, rest in zip(bid.cost, left, strict=True)]
            if _is_short(after, bid.cost):
                break
            left, given = after, given + 1
        if given > bid.wanted:
            reached[bid.id] = given
    return reached


def _is_short(left: Sequence[float], cost: Sequence[float]) -> bool:
    return any(rest < -_TOLERANCE for rest, each in zip(left, cost, strict=True) if each > 0)


def _entitled(bids: Sequence[Bid], left: list[float]) -> dict[DeploymentId, int]:
    given = {bid.id: 0 for bid in bids}

    def fill(some: Sequence[Bid], most: Callable[[Bid], int]) -> None:
        _fill(some, given, most, left, held=False)

    classes = _by_priority(bids)
    for equals in classes:
        fill(equals, lambda bid: min(bid.wanted, bid.assured))
    for equals in classes:
        fill(equals, lambda bid: min(bid.wanted, max(bid.assured, bid.in_flight)))
        fill(equals, lambda bid: bid.wanted)
    return given


def _reached(bids: Sequence[Bid], entitled: Mapping[DeploymentId, int], left: list[float]) -> dict[DeploymentId, int]:
    """Lower at once, by at most a step; raise only into what is free now."""
    given = {bid.id: max(min(entitled[bid.id], bid.target), bid.target - bid.max_step_down) for bid in bids}
    for equals in _by_priority(bids):
        _fill(
            [bid for bid in equals if entitled[bid.id] > bid.target],
            given,
            lambda bid: entitled[bid.id],
            left,
            held=True,
        )
    return given


def _fill(
    bids: Sequence[Bid],
    given: dict[DeploymentId, int],
    most: Callable[[Bid], int],
    left: list[float],
    *,
    held: bool,
) -> None:
    """Give one replica after the other to whoever has least of what it wants.

    With ``held``, what is reserved was taken out of ``left`` before: those that run cost nothing, and those that
    are expected need only that nothing is overdrawn.
    """
    by_id = {bid.id: bid for bid in bids}
    queue = [(_place(bid, given[bid.id]), bid.id) for bid in bids if given[bid.id] < most(bid)]
    heapq.heapify(queue)
    while queue:
        _, name = heapq.heappop(queue)
        bid = by_id[name]
        if not held or given[name] >= bid.running:
            share = 0.0 if held and given[name] < bid.expected else 1.0
            after = [rest - share * cost for cost, rest in zip(bid.cost, left, strict=True)]
            if _is_short(after, bid.cost):
                continue
            left[:] = after
        given[name] += 1
        if given[name] < most(bid):
            heapq.heappush(queue, (_place(bid, given[name]), name))


def _place(bid: Bid, given: int) -> float:
    share = given / (bid.urgency * max(bid.wanted, 1))
    return _STICKY * share if given < bid.target else share


def _by_priority(bids: Sequence[Bid]) -> list[list[Bid]]:
    ordered = sorted(bids, key=lambda bid: (-bid.priority, bid.id))
    return [list(equals) for _, equals in itertools.groupby(ordered, key=lambda bid: bid.priority)]


def _left(resources: Sequence[Resource], held: Sequence[tuple[Bid, int]]) -> list[float]:
    return [
        resource.limit - sum(bid.cost[index] * replicas for bid, replicas in held)
        for index, resource in enumerate(resources)
    ]
