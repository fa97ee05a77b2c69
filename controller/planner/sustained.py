"""The load that lasts: what is shorter than a start-up cannot be answered by starting anything."""

from __future__ import annotations

from controller.domain.forecast import LeadTime
from controller.domain.snapshot import History

_SHORTEST_S, _LONGEST_S = 60.0, 120.0
"""Less would be noise; what two minutes hold is answered however long a start-up takes."""

_LEAST_KNOWN_S = 30.0


def sustained_s(lead: LeadTime) -> float:
    """Seconds that a load is averaged over: a start-up, as far as it is one to two minutes."""
    return min(max(lead.p90_s, _SHORTEST_S), _LONGEST_S)


def sustained(history: History, *, over_s: float, now: float) -> float | None:
    """Mean of what is known of the last ``over_s`` seconds; None when less than half a minute of it is."""
    first = max(0, round((now - over_s - history.start) / history.step_s))
    known = [value for value in history.values[first:] if value is not None]
    if not known or len(known) * history.step_s < _LEAST_KNOWN_S:
        return None
    return sum(known) / len(known)
