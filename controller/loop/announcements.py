"""A policy's events as what they announce about one signal."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.plan import Capacity
from controller.domain.signals import Signal
from controller.forecast.announced import Announced
from controller.policy.events import Event, ExtraLoad
from controller.policy.schedule import occurrences


def announcements(
    events: Sequence[Event], signal: Signal, capacity: Capacity, *, since: float, until: float
) -> tuple[Announced, ...]:
    """Return every occurrence that is on at some time of [since, until), as what it announces about ``signal``.

    An extra load that is given in other signals is converted by what one replica carries of each.
    """
    return tuple(
        Announced(
            name=one.event.name,
            start=one.start,
            end=one.end,
            multiple=one.event.demand_multiple or 1.0,
            extra=_extra(one.event.extra_load, signal, capacity),
        )
        for event in events
        for one in occurrences(event, since, until)
    )


def _extra(load: ExtraLoad | None, signal: Signal, capacity: Capacity) -> float:
    if load is None:
        return 0.0
    given, per_replica = load.amounts, capacity.per_replica
    if signal in given:
        return given[signal]
    replicas = max((amount / per_replica[one] for one, amount in given.items() if one in per_replica), default=0.0)
    return replicas * per_replica.get(signal, 0.0)
