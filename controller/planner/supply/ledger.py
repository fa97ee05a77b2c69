"""Takes news into the ledger, and forgets what matters no more.

Taking in the same news twice changes nothing, and the order in which it comes does not matter: of two times
for the same milestone the earlier is kept, of two sightings the later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from controller.domain.layer import Layer
from controller.domain.supply import MILESTONES, Reached, Refusal, Sighted, SupplyEvent, SupplyLedger, SupplyOrder, Unit

REMEMBERED_S = 3 * 3600.0
"""Orders and refusals this old have no say any more; the cluster autoscaler forgets failures as fast."""

_MEASURED = 50
"""Finished units kept for each pool and layer, to measure by."""


def note(ledger: SupplyLedger, events: Iterable[SupplyEvent]) -> SupplyLedger:
    """Take in news, whatever its order and however often it is told."""
    orders, refusals = set(ledger.orders), set(ledger.refusals)
    units = {(unit.layer, unit.uid): unit for unit in ledger.units}
    for event in events:
        match event:
            case SupplyOrder():
                orders.add(event)
            case Refusal():
                refusals.add(event)
            case Reached() | Sighted():
                key = (event.layer, event.uid)
                units[key] = _noted(units.get(key), event)
    return SupplyLedger(
        orders=tuple(sorted(orders)),
        units=tuple(unit for _, unit in sorted(units.items())),
        refusals=tuple(sorted(refusals, key=lambda one: (one.at, one.pool, one.kind, one.detail, one.zone or ""))),
    )


def prune(ledger: SupplyLedger, *, now: float) -> SupplyLedger:
    """Forget old orders and refusals, and units that are neither there, nor under way, nor among the last measured.

    Nodes and workers are there until a list says otherwise. No list tells of replicas: one of them is under way
    until it is ready, for three hours at most.
    """
    orders = tuple(order for order in ledger.orders if now - max(order.deadline, order.ordered_at) < REMEMBERED_S)
    oldest = min((order.ordered_at for order in orders), default=now)
    measured: dict[tuple[Layer, str], list[Unit]] = defaultdict(list)
    for unit in ledger.units:
        if _finished(unit):
            measured[unit.layer, unit.pool].append(unit)
    kept = {
        (unit.layer, unit.uid)
        for units in measured.values()
        for unit in sorted(units, key=lambda unit: (unit.reached[-1][1], unit.uid))[-_MEASURED:]
    }
    return SupplyLedger(
        orders=orders,
        units=tuple(
            unit for unit in ledger.units if (unit.layer, unit.uid) in kept or _matters(unit, since=oldest, now=now)
        ),
        refusals=tuple(refusal for refusal in ledger.refusals if now - refusal.at < REMEMBERED_S),
    )


def _matters(unit: Unit, *, since: float, now: float) -> bool:
    if unit.layer is Layer.REPLICA:
        return not _finished(unit) and now - _last(unit) < REMEMBERED_S
    return not unit.gone or _last(unit) >= since


def _finished(unit: Unit) -> bool:
    return unit.at(MILESTONES[unit.layer][-1]) is not None


def _noted(unit: Unit | None, event: Reached | Sighted) -> Unit:
    unit = unit or Unit(layer=event.layer, key=event.key, uid=event.uid, pool=event.pool)
    unit = replace(unit, key=min(unit.key, event.key), pool=min(unit.pool, event.pool))
    if isinstance(event, Sighted):
        if event.gone:
            return replace(unit, gone_at=event.at if unit.gone_at is None else max(unit.gone_at, event.at))
        return replace(unit, seen_at=event.at if unit.seen_at is None else max(unit.seen_at, event.at))
    earlier = unit.at(event.milestone)
    reached = dict(unit.reached) | {event.milestone: event.at if earlier is None else min(earlier, event.at)}
    parents = [parent for parent in (unit.parent, event.parent) if parent is not None]
    in_order = tuple((milestone, reached[milestone]) for milestone in MILESTONES[unit.layer] if milestone in reached)
    return replace(unit, reached=in_order, parent=min(parents, default=None))


def _last(unit: Unit) -> float:
    """When it was last heard of."""
    times = [at for _, at in unit.reached]
    times += [at for at in (unit.seen_at, unit.gone_at) if at is not None]
    return max(times, default=0.0)
