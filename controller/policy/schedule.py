"""Which announced events are on or near at a time. A pure function of policy and time.

``events_at`` and ``events_within`` answer for a moment and for the time until a lead time ahead;
``occurrences`` lists everything in a span of time, past or future, for the forecast to learn from.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from controller.policy.cron import starts_after, starts_before
from controller.policy.events import Event

_MOST = 100_000
"""Occurrences of one event that are listed at most: every minute of two months."""
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One event from ``start`` until before ``end`` (Unix seconds)."""

    event: Event
    start: float
    end: float

    def is_on(self, at: float) -> bool:
        """Whether it is on at a time."""
        return self.start <= at < self.end


def events_at(events: Sequence[Event], at: float) -> tuple[Occurrence, ...]:
    """Return what is on at a time, by start and then by the order given; each event once, its newest occurrence."""
    return tuple(found for found in events_within(events, at, 0.0) if found.is_on(at))


def events_within(events: Sequence[Event], now: float, ahead_s: float) -> tuple[Occurrence, ...]:
    """Return what is on now or begins within ``ahead_s``, by start and then by the order given.

    Of each event: the newest occurrence that is on, and the next one.
    """
    found = [one for event in events for one in _around(event, now) if one.end > now and one.start <= now + ahead_s]
    return tuple(sorted(found, key=lambda one: one.start))


def next_occurrence(event: Event, now: float) -> Occurrence | None:
    """Return the occurrence that is on, else the next one; None when it is over for good."""
    return next((one for one in _around(event, now) if one.end > now), None)


def occurrences(event: Event, since: float, until: float) -> tuple[Occurrence, ...]:
    """Return every occurrence that is on at some time of [since, until), oldest first, at most 100,000."""
    once = event.starts_at
    if once is not None:
        starts = [once]
    else:
        begun = itertools.islice(_cron_starts(event, since - event.duration_s), _MOST)
        starts = list(itertools.takewhile(lambda start: start < until, begun))
    found = (Occurrence(event, start, start + event.duration_s) for start in starts)
    return tuple(one for one in found if one.start < until and one.end > since)


def _cron_starts(event: Event, since: float) -> itertools.chain[float]:
    cron = event.cron or ""
    first = (start for start in itertools.islice(starts_before(cron, event.timezone, since), 1) if start == since)
    return itertools.chain(first, starts_after(cron, event.timezone, since))


def _around(event: Event, now: float) -> tuple[Occurrence, ...]:
    """The newest occurrence begun, and the next one."""
    once = event.starts_at
    if once is not None:
        return (Occurrence(event, once, once + event.duration_s),)
    # Cron knows whole minutes only, so what is around stays the same for that long.
    before, after = _neighbours(event.cron or "", event.timezone, now // _MINUTE_S * _MINUTE_S)
    return tuple(Occurrence(event, start, start + event.duration_s) for start in (before, after) if start is not None)


@functools.lru_cache(maxsize=4096)
def _neighbours(cron: str, timezone: str, minute: float) -> tuple[float | None, float | None]:
    return next(starts_before(cron, timezone, minute), None), next(starts_after(cron, timezone, minute), None)
