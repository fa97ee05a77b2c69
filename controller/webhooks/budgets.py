"""How fast error budgets burn: the alerts' windows and factors, on what the controller itself has counted. Pure.

Events are added up tick by tick, as ``sum_over_time`` adds up the recording rules. Totals are kept ever more sparsely
with age, so that three days are a hundred numbers; in between they are interpolated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from alerts.slo import LEAST_BAD_EVENTS, PACES, TIME_OBJECTIVE, Pace, seconds
from controller.domain.identity import DeploymentId
from controller.domain.objective import Events, Objective
from controller.domain.record import DeploymentRecord, TickRecord

_LONGEST_TICK_S = 300.0
"""A tick stands for no more than this: of a longer gap nothing is known."""
_STEP_S = 25.0
"""A twelfth of the shortest window."""
_FINENESS = 12
_REACH_S = max(seconds(windows.long) for pace in PACES for windows in pace.windows)


class Total(NamedTuple):
    """Events, and bad ones among them, from the beginning to ``at`` (Unix seconds)."""

    at: float
    events: float = 0.0
    bad: float = 0.0


@dataclass(frozen=True, slots=True)
class Spending:
    """What was counted of one objective: the total now, and earlier ones, oldest first."""

    now: Total
    past: tuple[Total, ...] = ()

    def within(self, span_s: float) -> tuple[float, float]:
        """Return the events of the last ``span_s`` seconds, and the bad ones; of less where less is known."""
        began = self._total_at(self.now.at - span_s)
        return self.now.events - began.events, self.now.bad - began.bad

    def _total_at(self, at: float) -> Total:
        after = bisect_right(self.past, at, key=attrgetter("at"))
        if after == 0:
            return self.past[0] if self.past else self.now
        earlier, later = self.past[after - 1], self.past[after] if after < len(self.past) else self.now
        share = (at - earlier.at) / (later.at - earlier.at)
        return Total(
            at,
            earlier.events + share * (later.events - earlier.events),
            earlier.bad + share * (later.bad - earlier.bad),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One objective of a record; ``promised`` is a share of its events, which are None where nothing is known."""

    key: str
    objective: Objective
    promised: float
    events: Events | None
    application: str
    deployment: DeploymentId | None = None
    threshold_s: float | None = None


@dataclass(frozen=True, slots=True)
class Burn:
    """A budget that burns ``rate`` times as fast as it may, over both windows."""

    rate: float
    long: str
    short: str


def budgets(record: TickRecord) -> Iterator[Budget]:
    """Return every objective of a record's policy: of deployments in seconds, of applications in requests."""
    by_application: dict[str, list[DeploymentRecord]] = {}
    for entry in record.deployments:
        if entry.terms is None:
            continue
        of = entry.snapshot.id
        by_application.setdefault(of.application, []).append(entry)
        for objective, threshold_s in ((Objective.TTFT, entry.terms.ttft_s), (Objective.ITL, entry.terms.itl_s)):
            yield Budget(
                key=f"{of}/{objective.value}",
                objective=objective,
                promised=TIME_OBJECTIVE,
                events=entry.snapshot.objectives.get(objective),
                application=of.application,
                deployment=of,
                threshold_s=threshold_s,
            )
    for application, entries in by_application.items():
        ratios = [entry.terms.success_ratio for entry in entries if entry.terms and entry.terms.success_ratio]
        counted = [entry.snapshot.objectives.get(Objective.SUCCESS) for entry in entries]
        if ratios:
            yield Budget(
                key=f"{application}/{Objective.SUCCESS.value}",
                objective=Objective.SUCCESS,
                promised=max(ratios),
                # Each deployment has the count of the whole application.
                events=next((one for one in counted if one is not None), None),
                application=application,
            )


def counted(before: Mapping[str, Spending], record: TickRecord) -> dict[str, Spending]:
    """Add a tick to what was counted; what the policy no longer promises is forgotten."""
    return {one.key: _added(before.get(one.key), one.events, record.at) for one in budgets(record)}


def burning(spending: Spending, pace: Pace, promised: float) -> Burn | None:
    """Return how a budget burns at a pace: by the first pair of windows that both do; None where it does not."""
    _, bad = spending.within(seconds(pace.counted))
    if bad < LEAST_BAD_EVENTS:
        return None
    for windows in pace.windows:
        long, short = (_rate(spending, window, promised) for window in (windows.long, windows.short))
        if long is not None and short is not None and min(long, short) > windows.factor:
            return Burn(long, windows.long, windows.short)
    return None


def _rate(spending: Spending, window: str, promised: float) -> float | None:
    events, bad = spending.within(seconds(window))
    return bad / events / (1.0 - promised) if events > 0.0 else None


def _added(before: Spending | None, events: Events | None, at: float) -> Spending:
    if before is None or at < before.now.at:  # the first, or a clock that was set back
        return Spending(Total(at))
    last, past = before.now, before.past
    took_s = min(at - last.at, _LONGEST_TICK_S)
    if at - last.at > took_s:
        past = (*past, last)
        last = last._replace(at=at - took_s)
    if not past or last.at - past[-1].at >= _STEP_S:
        past = tuple(_thinned((*past, last), at))
    if events is None:
        return Spending(last._replace(at=at), past)
    return Spending(Total(at, last.events + events.per_s * took_s, last.bad + events.bad_per_s * took_s), past)


def _thinned(past: tuple[Total, ...], now: float) -> Iterator[Total]:
    """Leave out every total between two that are near each other for their age; of those out of reach keep one."""
    kept: Total | None = None
    for total, later in zip(past, (*past[1:], None), strict=True):
        if later is None:
            yield total
        elif now - later.at < _REACH_S and (
            kept is None or later.at - kept.at > max(_STEP_S, (now - later.at) / _FINENESS)
        ):
            kept = total
            yield total
