"""What the replicas cost, what of it served demand, and what other ways would have used. Sums, tick by tick."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from controller.domain.record import DeploymentRecord
from controller.web.moments import reactive

_HOUR_S = 3600.0
_LONGEST_TICK_S = 600.0
"""More than twice the longest interval between ticks that a policy allows: beyond it nobody watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Replica-seconds over ``watched_s`` seconds; each replica belongs to one of the first four.

    ``needed`` served demand; ``spare`` were ready beyond it; ``starting`` and ``stopping`` are paid for and serve
    nothing. ``oracle`` is what measured demand needed, ``at_limit`` a fleet at the policy's maximum, and ``peak`` the
    most replicas ever held. ``unknown_s`` is time without knowledge, which counts nowhere.
    """

    watched_s: float = 0.0
    unknown_s: float = 0.0
    needed: float = 0.0
    spare: float = 0.0
    starting: float = 0.0
    stopping: float = 0.0
    oracle: float = 0.0
    at_limit: float = 0.0
    peak: float = 0.0

    @property
    def held(self) -> float:
        """Replica-seconds paid for."""
        return self.needed + self.spare + self.starting + self.stopping

    @property
    def at_peak(self) -> float:
        """Replica-seconds of a fleet that always has the most that was ever held."""
        return self.peak * self.watched_s

    @property
    def waste(self) -> float:
        """Replica-seconds that served nobody."""
        return self.held - self.needed

    def plus(self, other: Spent) -> Spent:
        """Both together, one after the other."""
        return Spent(
            watched_s=self.watched_s + other.watched_s,
            unknown_s=self.unknown_s + other.unknown_s,
            needed=self.needed + other.needed,
            spare=self.spare + other.spare,
            starting=self.starting + other.starting,
            stopping=self.stopping + other.stopping,
            oracle=self.oracle + other.oracle,
            at_limit=self.at_limit + other.at_limit,
            peak=max(self.peak, other.peak),
        )


def spent(entry: DeploymentRecord, seconds: float) -> Spent:
    """What one tick's findings cost while they lasted."""
    counts, needed = entry.snapshot.replicas, reactive(entry.decision.steps)
    if counts is None or needed is None or entry.terms is None:
        return Spent(unknown_s=seconds)
    used = min(counts.ready, needed)
    return Spent(
        watched_s=seconds,
        needed=used * seconds,
        spare=(counts.ready - used) * seconds,
        starting=counts.starting * seconds,
        stopping=counts.stopping * seconds,
        oracle=needed * seconds,
        at_limit=entry.terms.max_replicas * seconds,
        peak=float(counts.ready + counts.starting + counts.stopping),
    )


@dataclass(slots=True)
class Account:
    """One deployment's spending by hour, for as many hours as are kept."""

    hours: int = 7 * 24
    _spent: deque[tuple[float, Spent]] = field(default_factory=deque)
    _last: tuple[float, DeploymentRecord] | None = None

    def add(self, at: float, entry: DeploymentRecord) -> None:
        """Take in a tick: what the one before found has lasted until now."""
        last, self._last = self._last, (at, entry)
        if last is None or not 0 < at - last[0] <= _LONGEST_TICK_S:
            return
        hour = math.floor(at / _HOUR_S) * _HOUR_S
        more = spent(last[1], at - last[0])
        if self._spent and self._spent[-1][0] == hour:
            self._spent[-1] = (hour, self._spent[-1][1].plus(more))
        else:
            self._spent.append((hour, more))
        while len(self._spent) > self.hours:
            self._spent.popleft()

    def total(self, *, since: float = -math.inf) -> Spent:
        """All that was spent in the hours that end after ``since`` (Unix seconds)."""
        return together(one for hour, one in self._spent if hour + _HOUR_S > since)


def together(parts: Iterable[Spent]) -> Spent:
    """One after the other."""
    total = Spent()
    for part in parts:
        total = total.plus(part)
    return total


def scaled(one: Spent, factor: float) -> Spent:
    """The same in another unit: GPU-seconds, or money. Lengths of time and the peak's too stay as they are."""
    return replace(
        one,
        needed=one.needed * factor,
        spare=one.spare * factor,
        starting=one.starting * factor,
        stopping=one.stopping * factor,
        oracle=one.oracle * factor,
        at_limit=one.at_limit * factor,
        peak=one.peak * factor,
    )
