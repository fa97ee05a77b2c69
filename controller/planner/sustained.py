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
    """Mean of the readings of the last ``seconds``; 0 seconds are a single reading."""

    mean: float
    seconds: float

    def is_brief(self, history: History) -> bool:
        """Whether it rests on less than ``RECENT_S``, as far as its bins can tell."""
        return self.seconds < RECENT_S - history.step_s


def sustained(history: History, *, over_s: float, now: float) -> float | None:
    """Mean of what is known of the last ``over_s`` seconds; None when less than half a minute of it is."""
    known = [value for _, value in _known(history, now - over_s)]
    if not known or len(known) * history.step_s < _LEAST_KNOWN_S:
        return None
    return sum(known) / len(known)


def recent(history: History, reading: float, *, now: float, over_s: float = RECENT_S) -> Recent:
    """Mean of ``reading`` and what is known of the last ``over_s`` before it."""
    known = list(_known(history, now - over_s))
    since = min((begins for begins, _ in known), default=now)
    return Recent((sum(value for _, value in known) + reading) / (len(known) + 1), now - since)


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
