"""What has become of every order: how much of it came, what is still coming, what is late or refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.domain.layer import Layer
from controller.domain.placement import ComingNodes
from controller.domain.supply import MILESTONES, Refusal, Standing, SupplyLedger, SupplyOrder, SupplyStatus, Unit


@dataclass(slots=True)
class _Follow:
    """An order that raised, with what was called off of it and the units that came of it, oldest first."""

    order: SupplyOrder
    called_off: list[float] = field(default_factory=list)
    """When, once for each unit."""
    units: list[Unit] = field(default_factory=list)
    given_up: bool = False
    """Another order was placed after it was late or refused: what comes now came of that one."""

    @property
    def wanted(self) -> int:
        return self.order.count - len(self.called_off)

    @property
    def newest(self) -> float:
        """When the last sign of it was given."""
        return max((_created_at(unit) for unit in self.units), default=self.order.ordered_at)

    def ready_times(self) -> list[float]:
        last = MILESTONES[self.order.layer][-1]
        return sorted(at for unit in self.units if (at := unit.at(last)) is not None)

    def missed_its_deadline(self, now: float) -> bool:
        """Whether less of it was ready at the deadline than was wanted then."""
        wanted = self.order.count - sum(at <= self.order.deadline for at in self.called_off)
        in_time = sum(at <= self.order.deadline for at in self.ready_times())
        return now > self.order.deadline and in_time < wanted


def standings(ledger: SupplyLedger, *, now: float) -> tuple[Standing, ...]:
    """Follow every order that raised something, oldest first for each key.

    A unit counts for the oldest order of its key that was placed before the unit was created and is not full
    yet; one that is gone before it was ready counts for none. A refusal ends an order where nothing has been
    created since, unless it is about one zone only: then the others are waited for.
    """
    return tuple(_standing(follow, ledger.refusals, now) for follow in _followed(ledger))


def coming_nodes(ledger: SupplyLedger, *, now: float) -> tuple[ComingNodes, ...]:
    """Nodes that are ordered, neither late nor refused, and do not exist yet."""
    return tuple(
        ComingNodes(pool=standing.order.key, nodes=standing.coming, expected_at=standing.order.expected_at)
        for standing in standings(ledger, now=now)
        if standing.order.layer is Layer.NODE and standing.coming > 0
    )


def overdue(ledger: SupplyLedger, *, now: float) -> tuple[SupplyOrder, ...]:
    """Orders of nodes that were not there in full by their deadline, whatever came later, and were not refused."""
    return tuple(
        follow.order
        for follow in _followed(ledger)
        if follow.order.layer is Layer.NODE
        and follow.missed_its_deadline(now)
        and not _refused_by(follow, ledger.refusals, follow.order.deadline)
    )


def order_of_unit(ledger: SupplyLedger) -> Mapping[tuple[Layer, str], SupplyOrder]:
    """Which order each unit came of, where it came of one, by layer and uid."""
    return {(unit.layer, unit.uid): follow.order for follow in _followed(ledger) for unit in follow.units}


def _followed(ledger: SupplyLedger) -> list[_Follow]:
    """Go through orders and creations in the order of time, each key by itself."""
    moments: dict[tuple[Layer, str], list[tuple[float, int, SupplyOrder | Unit]]] = defaultdict(list)
    for order in ledger.orders:
        moments[order.layer, order.key].append((order.ordered_at, 0, order))
    for unit in ledger.units:
        if _came(unit):
            moments[unit.layer, unit.key].append((_created_at(unit), 1, unit))
    followed: list[_Follow] = []
    for _, found in sorted(moments.items()):
        of_key: list[_Follow] = []
        for at, _, event in sorted(found, key=lambda moment: (moment[0], moment[1], str(moment[2]))):
            if isinstance(event, Unit):
                _attribute(event, of_key)
            elif event.count > 0:
                _give_up(of_key, ledger.refusals, at)
                of_key.append(_Follow(event))
            else:
                _call_off(of_key, -event.count, at)
        followed += of_key
    return followed


def _attribute(unit: Unit, followed: Iterable[_Follow]) -> None:
    for follow in followed:
        if not follow.given_up and len(follow.units) < follow.wanted:
            follow.units.append(unit)
            return


def _give_up(followed: Iterable[_Follow], refusals: Iterable[Refusal], at: float) -> None:
    for follow in followed:
        if at > follow.order.deadline or _refused_by(follow, refusals, at):
            follow.given_up = True


def _call_off(followed: Sequence[_Follow], count: int, at: float) -> None:
    for follow in reversed(followed):
        possible = 0 if follow.given_up else min(count, follow.wanted - len(follow.units))
        follow.called_off += [at] * possible
        count -= possible


def _refused_by(follow: _Follow, refusals: Iterable[Refusal], moment: float) -> bool:
    refusal = _refusal(follow, [refusal for refusal in refusals if refusal.at <= moment])
    return refusal is not None and refusal.zone is None


def _created_at(unit: Unit) -> float:
    return unit.reached[0][1]


def _came(unit: Unit) -> bool:
    """Whether it is known when it was created, and it was not gone before it was ready."""
    first, last = MILESTONES[unit.layer][0], MILESTONES[unit.layer][-1]
    return unit.at(first) is not None and (not unit.gone or unit.at(last) is not None)


def _standing(follow: _Follow, refusals: Iterable[Refusal], now: float) -> Standing:
    refusal = _refusal(follow, refusals)
    ready = len(follow.ready_times())
    status, reason = SupplyStatus.PENDING, ""
    if follow.wanted == 0:
        status = SupplyStatus.CANCELLED
    elif ready >= follow.wanted:
        status = SupplyStatus.ARRIVED
    elif refusal is not None and refusal.zone is None:
        status, reason = SupplyStatus.REFUSED, f"{refusal.kind.value.replace('_', ' ')}: {refusal.detail}"
    elif now > follow.order.deadline:
        status = SupplyStatus.LATE
        reason = refusal.detail if refusal is not None else "the platform has given no reason"
    return Standing(
        order=follow.order,
        status=status,
        wanted=follow.wanted,
        created=len(follow.units),
        ready=ready,
        reason=reason,
    )


def _refusal(follow: _Follow, refusals: Iterable[Refusal]) -> Refusal | None:
    """Find the latest refusal since the order and since the newest unit that came of it."""
    if follow.order.layer is not Layer.NODE:
        return None
    since = [one for one in refusals if one.pool == follow.order.key and one.at >= follow.newest]
    return max(since, key=lambda one: (one.zone is None, one.at, one.detail), default=None)
