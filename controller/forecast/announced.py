"""What was announced about a signal: known beforehand, so it shifts a forecast before anything can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from controller.forecast.arrays import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """One occurrence of an event from ``start`` until before ``end`` (Unix seconds).

    Meanwhile demand is ``multiple`` times the usual plus ``extra``, in the signal's unit; 1 and 0 where nothing was
    said about it. ``name`` is the same for all occurrences of one event.
    """

    name: str
    start: float
    end: float
    multiple: float = 1.0
    extra: float = 0.0

    @property
    def changes_load(self) -> bool:
        """Whether demand is said to differ while it lasts."""
        return self.multiple > 1.0 or self.extra > 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """What is announced for one stretch of time. ``on`` says whether some of it has begun."""

    multiple: float
    extra: float
    on: bool


def change(announced: Sequence[Announced], at: float, horizon_s: float) -> Change | None:
    """Return the largest change announced for (at, at + horizon]; None without any.

    Events that are on together add their extra loads; the largest multiple counts.
    """
    near = [one for one in announced if one.changes_load and one.start <= at + horizon_s and one.end > at]
    if not near:
        return None
    moments = [[one for one in near if one.start <= start < one.end] for start in {max(at, one.start) for one in near}]
    changes = [(max(one.multiple for one in on), sum(one.extra for one in on)) for on in moments]
    return Change(
        max(entry[0] for entry in changes), max(entry[1] for entry in changes), any(one.start <= at for one in near)
    )


def names(announced: Sequence[Announced]) -> tuple[str, ...]:
    """Return the events' names, in a fixed order."""
    return tuple(sorted({one.name for one in announced}))


def event_columns(
    announced: Sequence[Announced], of: Sequence[str], ends: FloatArray, horizon_s: float
) -> list[FloatArray]:
    """One feature per event: where in it the moments ``ends`` are; NaN far from it.

    Before it, the share of the horizon that is left until it begins, from 1 to 0; while it lasts, the share of it
    that is over, from 0 to -1.
    """
    columns = []
    for name in of:
        column = np.full(ends.size, np.nan)
        for one in announced:
            if one.name != name:
                continue
            left = (one.start - ends) / horizon_s
            column = np.where((left > 0) & (left <= 1) & ~(column <= 0), np.fmin(column, left), column)
            on = (one.start <= ends) & (ends < one.end)
            column = np.where(on, (one.start - ends) / (one.end - one.start), column)
        columns.append(column)
    return columns
