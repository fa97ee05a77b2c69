"""The load that lasts, without the noise of the last half minute."""

from __future__ import annotations

from controller.domain.snapshot import History

SUSTAINED_S = 120.0
"""Mean over this time: about a start-up, as what is shorter cannot be answered by starting anything."""

_LEAST_KNOWN_S = 30.0


def sustained(history: History, *, now: float) -> float | None:
    """Mean of what is known of the last two minutes; None when less than half a minute of it is."""
    first = max(0, round((now - SUSTAINED_S - history.start) / history.step_s))
    known = [value for value in history.values[first:] if value is not None]
    if not known or len(known) * history.step_s < _LEAST_KNOWN_S:
        return None
    return sum(known) / len(known)
