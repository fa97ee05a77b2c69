"""Announced events as a floor: raised one lead time before an event begins, held while it lasts."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from controller.domain.plan import Capacity, Reason, Step
from controller.domain.reading import Known
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.size import Sizing, sizing_signals
from controller.policy.events import Event
from controller.policy.schedule import Occurrence, events_at, events_within, next_occurrence

_USUAL_OVER_S = 300.0
"""Time constant of the demand that is usual without an event."""
_TOLERANCE = 1e-9


def with_usual(
    memory: DeploymentMemory, events: Sequence[Event], snapshot: Snapshot, capacity: Capacity, *, now: float
) -> DeploymentMemory:
    """Remember how many replicas the demand would fill while no event changes it: what a multiple is of."""
    if not any(event.changes_load for event in events):
        return memory
    if any(one.event.changes_load for one in events_at(events, now)):
        return memory
    load = _load(snapshot, capacity)
    if load is None:
        return memory
    if memory.usual_load is None or memory.usual_load_at is None:
        return replace(memory, usual_load=load, usual_load_at=now)
    weight = 1.0 - math.exp(-max(0.0, now - memory.usual_load_at) / _USUAL_OVER_S)
    return replace(memory, usual_load=memory.usual_load + weight * (load - memory.usual_load), usual_load_at=now)


def announced(
    sizing: Sizing,
    events: Sequence[Event],
    capacity: Capacity,
    *,
    usual_load: float | None,
    now: float,
    ahead_s: float,
) -> Step:
    """Return the larger of what was sized and what the events on now or beginning within ``ahead_s`` need.

    Events that are on together add their loads; the largest multiple and the largest floor count.
    """
    near = events_within(events, now, ahead_s)
    moments = sorted({max(now, one.start) for one in near})
    needs = [_need([one for one in near if one.is_on(at)], capacity, usual_load, at) for at in moments]
    floor, at, why = max(needs, key=lambda need: need[0], default=(0, now, ""))
    if not near:
        return Step("schedule", sizing.needed, sizing.reason, _nothing(events, now, ahead_s))
    when = "now" if at <= now else f"in {at - now:.0f} s"
    detail = f"{when}: {why} → {floor}"
    if floor > sizing.needed:
        return Step("schedule", floor, Reason.SCHEDULE, detail)
    return Step("schedule", sizing.needed, sizing.reason, detail)


def _need(on: Sequence[Occurrence], capacity: Capacity, usual: float | None, at: float) -> tuple[int, float, str]:
    """Replicas, when, and the arithmetic."""
    events = [one.event for one in on]
    words = [f"{one.event.name} (until {_local(one.end, one.event)})" for one in on]
    least = max((event.min_replicas or 0 for event in events), default=0)
    parts = [f"at least {least}"] if least else []
    replicas = least
    if any(event.changes_load for event in events):
        load, arithmetic = _expected_load(events, capacity, usual)
        replicas = max(least, math.ceil(load - _TOLERANCE))
        parts.append(arithmetic)
    return replicas, at, f"{', '.join(words)}: {', '.join(parts)}"


def _expected_load(events: Sequence[Event], capacity: Capacity, usual: float | None) -> tuple[float, str]:
    multiple = max((event.demand_multiple or 1.0 for event in events), default=1.0)
    extra = sum(_extra_load(event, capacity) for event in events)
    base = "the usual load was not seen yet" if usual is None else f"{multiple:g} x {usual:.2f} usual"
    return multiple * (usual or 0.0) + extra, f"{base} + {extra:.2f} extra, in full replicas"


def _extra_load(event: Event, capacity: Capacity) -> float:
    if event.extra_load is None:
        return 0.0
    loads = (
        amount / capacity.per_replica[signal]
        for signal, amount in event.extra_load.amounts.items()
        if signal in capacity.per_replica
    )
    return max(loads, default=0.0)


def _load(snapshot: Snapshot, capacity: Capacity) -> float | None:
    """Replicas that the demand now would just fill; None while a part of it is unknown."""
    loads = []
    for signal in sizing_signals(snapshot, capacity):
        reading = snapshot.reading(signal)
        if not isinstance(reading, Known):
            return None
        loads.append(reading.value / capacity.per_replica[signal])
    return max(loads, default=None)


def _nothing(events: Sequence[Event], now: float, ahead_s: float) -> str:
    upcoming = [one for event in events if (one := next_occurrence(event, now)) is not None]
    if not upcoming:
        return "nothing is announced any more"
    first = min(upcoming, key=lambda one: one.start)
    return f"nothing within {ahead_s:.0f} s; next {first.event.name} at {_local(first.start, first.event)}"


def _local(at: float, event: Event) -> str:
    return dt.datetime.fromtimestamp(at, ZoneInfo(event.timezone)).strftime("%Y-%m-%d %H:%M %Z")
