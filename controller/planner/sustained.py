"""The load that lasts: what is shorter than a start-up cannot be answered by starting anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.domain.forecast import LeadTime
from controller.domain.snapshot import History

_SHORTEST_S, _LONGEST_S = 60.0, 120.0
"""Less would be noise; what two minutes hold is answered however long a start-up takes."""

RECENT_S = 30.0
"""Requests in flight are sized by their mean over this time, as Ray Serve does (``look_back_period_s``)."""

_LEAST_KNOWN_S = 30.0


def sustained_s(lead: LeadTime) -> float:
    """Seconds that a load is averaged over: a start-up, as far as it is one to two minutes."""
    return min(max(lead.p90_s, _SHORTEST_S), _LONGEST_S)


@dataclass(frozen=True, slots=True)
class Recent:
    """Mean of the readings of the last half minute, and whether it rests on too little for anything to be ordered."""

    mean: float
    brief: bool


def sustained(history: History, *, over_s: float, interval_s: float, now: float) -> float | None:
    """Mean of what is known of the last ``over_s`` seconds; None when less than half a minute of it is.

    A reading stands for the ``interval_s`` until the next, however many bins that is.
    """
    known = [value for _, value in _known(history, now - over_s)]
    if not known or len(known) * max(history.step_s, interval_s) < _LEAST_KNOWN_S:
        return None
    return sum(known) / len(known)


def recent(history: History, reading: float, *, interval_s: float, now: float) -> Recent:
    """Mean of ``reading`` and what is known of the last half minute before it, or of two intervals, if longer.

    Brief is what was not known half a minute ago, as far as bins can tell, or rests on what came just now. The
    readings of half a minute may all be younger than that, so what was known is looked for one reading further back:
    ``history`` is to have twice ``recent_s``.
    """
    over_s = recent_s(interval_s)
    known = list(_known(history, now - over_s))
    since = min((begins for begins, _ in known), default=now)
    further = now - over_s - interval_s - history.step_s
    earliest = min((begins for begins, _ in _known(history, further)), default=now)
    return Recent(
        mean=(sum(value for _, value in known) + reading) / (len(known) + 1),
        brief=now - earliest < RECENT_S - history.step_s or now - since < RECENT_S / 2,
    )


def recent_s(interval_s: float) -> float:
    """Seconds that requests in flight are averaged over."""
    return max(RECENT_S, 2.0 * interval_s)


def beyond_chance(count: float, mean: float) -> float:
    """What a reading of requests in flight proves by itself: all but the standard deviation of a Poisson count."""
    return max(0.0, count - math.sqrt(max(0.0, mean)))


def _known(history: History, since: float) -> list[tuple[float, float]]:
    """(begin, value) of the known bins from ``since`` on."""
    first = max(0, round((since - history.start) / history.step_s))
    return [
        (history.start + place * history.step_s, value)
        for place, value in enumerate(history.values[first:], start=first)
        if value is not None
    ]
