"""How long a pool's nodes, workers and replicas take, and what that time consists of."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.layer import Layer
from controller.domain.placement import PoolLeads
from controller.domain.supply import MILESTONES, Leg, LegTime, SupplyLead, SupplyLedger, Unit
from controller.planner.lead import DEFAULT_S
from controller.planner.supply.quantiles import assumed_lead, measured_lead
from controller.planner.supply.standing import order_of_unit

DEFAULTS_S = {Layer.NODE: 300.0, Layer.WORKER: 60.0, Layer.REPLICA: DEFAULT_S}
"""Assumed where nothing was measured and the policy says nothing."""

_LEGS = {
    Layer.NODE: (Leg.CREATION, Leg.BOOT),
    Layer.WORKER: (Leg.SCHEDULING, Leg.IMAGE, Leg.JOIN),
    Layer.REPLICA: (Leg.WEIGHTS, Leg.WARM_UP, Leg.ADMISSION),
}


@dataclass(frozen=True, slots=True)
class _Journey:
    """Seconds that one unit took in all (None while unknown), and for each leg of which both ends are known."""

    total_s: float | None
    legs: Mapping[Leg, float]


def pool_leads(
    ledger: SupplyLedger, pools: Iterable[str], *, assumed_s: Mapping[str, float | None]
) -> tuple[PoolLeads, ...]:
    """Lead times of each pool's nodes and of workers on them; ``assumed_s`` is the policy's figure for nodes."""
    journeys = _journeys(ledger)
    return tuple(
        PoolLeads(
            pool=pool,
            node=_lead(journeys.get((pool, Layer.NODE), ()), Layer.NODE, assumed_s.get(pool)),
            worker=_lead(journeys.get((pool, Layer.WORKER), ()), Layer.WORKER, None),
        )
        for pool in sorted(pools)
    )


def supply_leads(ledger: SupplyLedger) -> tuple[SupplyLead, ...]:
    """Lead times of each pool and layer of which anything was measured, with their breakdown.

    The time of a layer begins when there is what it needs: a worker's with its pod or the node, a replica's
    with its creation or the worker, whichever is later, so that waiting on purpose is not counted. A leg
    whose ends are not both known has no time; neither is guessed.
    """
    found = []
    for (pool, layer), journeys in sorted(_journeys(ledger).items()):
        lead = _lead(journeys, layer, None)
        legs = [(leg, [one.legs[leg] for one in journeys if leg in one.legs]) for leg in (*_LEGS[layer], Leg.LOADING)]
        times = tuple(_leg_time(leg, seconds) for leg, seconds in legs if seconds)
        if times:
            found.append(SupplyLead(pool=pool, layer=layer, lead=lead, legs=times))
    return tuple(found)


def replica_leads(ledger: SupplyLedger) -> Mapping[str, LeadTime]:
    """Measured lead times of replicas by deployment, from when they had a worker until they could be sent requests."""
    keys = {(unit.layer, unit.uid): unit.key for unit in ledger.units}
    totals: dict[str, list[float]] = defaultdict(list)
    for (layer, uid), journey in _journeys_of_units(ledger).items():
        if layer is Layer.REPLICA and journey.total_s is not None:
            totals[keys[layer, uid]].append(journey.total_s)
    return {key: measured_lead(seconds) for key, seconds in sorted(totals.items())}


def _lead(journeys: Iterable[_Journey], layer: Layer, assumed_s: float | None) -> LeadTime:
    totals = [one.total_s for one in journeys if one.total_s is not None]
    if totals:
        return measured_lead(totals)
    if assumed_s is not None:
        return assumed_lead(assumed_s, LeadSource.POLICY)
    return assumed_lead(DEFAULTS_S[layer], LeadSource.DEFAULT)


def _leg_time(leg: Leg, seconds: list[float]) -> LegTime:
    lead = measured_lead(seconds)
    return LegTime(leg=leg, p50_s=lead.p50_s, p90_s=lead.p90_s, p95_s=lead.p95_s, samples=len(seconds))


def _journeys(ledger: SupplyLedger) -> Mapping[tuple[str, Layer], list[_Journey]]:
    pools = {(unit.layer, unit.uid): unit.pool for unit in ledger.units}
    found: dict[tuple[str, Layer], list[_Journey]] = defaultdict(list)
    for key, journey in _journeys_of_units(ledger).items():
        found[pools[key], key[0]].append(journey)
    return found


def _journeys_of_units(ledger: SupplyLedger) -> Mapping[tuple[Layer, str], _Journey]:
    units = {(unit.layer, unit.uid): unit for unit in ledger.units}
    ordered = {key: order.ordered_at for key, order in order_of_unit(ledger).items()}
    return {key: _journey(unit, _start(unit, units, ordered.get(key))) for key, unit in units.items()}


def _start(unit: Unit, units: Mapping[tuple[Layer, str], Unit], ordered_at: float | None) -> float | None:
    """When a unit's own time began; None where that is not known."""
    if unit.layer is Layer.NODE:
        return ordered_at
    created = unit.at(MILESTONES[unit.layer][0])
    below = Layer.NODE if unit.layer is Layer.WORKER else Layer.WORKER
    parent = units.get((below, unit.parent)) if unit.parent is not None else None
    carried = parent.at(MILESTONES[below][-1]) if parent is not None else None
    return created if created is None or carried is None else max(created, carried)


def _journey(unit: Unit, start: float | None) -> _Journey:
    milestones = MILESTONES[unit.layer] if unit.layer is Layer.NODE else MILESTONES[unit.layer][1:]
    moments = [start, *(unit.at(milestone) for milestone in milestones)]
    legs = {
        leg: after - before
        for leg, (before, after) in zip(_LEGS[unit.layer], itertools.pairwise(moments), strict=True)
        if before is not None and after is not None and after >= before
    }
    end = moments[-1]
    total = end - start if start is not None and end is not None and end > start else None
    if unit.layer is Layer.REPLICA and total is not None and not any(moments[1:-1]):
        # Serve's replica states tell of the whole only.
        legs = {Leg.LOADING: total}
    return _Journey(total, legs)
