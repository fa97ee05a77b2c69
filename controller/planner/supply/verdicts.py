"""Which pools are not to be asked for nodes now, and until when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from controller.domain.layer import Layer
from controller.domain.pools import PoolVerdict, VerdictKind
from controller.domain.supply import Milestone, SupplyLedger
from controller.planner.supply.standing import overdue

FIRST_BACKOFF_S = 300.0
LONGEST_BACKOFF_S = 1800.0
"""The cluster autoscaler's own: it does not try again any sooner, so neither is it asked to."""


@dataclass(frozen=True, slots=True)
class _Failure:
    at: float
    kind: VerdictKind
    detail: str


def verdicts(ledger: SupplyLedger, *, now: float) -> tuple[PoolVerdict, ...]:
    """Verdicts that stand now, by pool and zone.

    A refusal closes a pool, or one of its zones, for 5 minutes; each further one after that time doubles it,
    up to 30. What is heard during a back-off is the same failure once more. An order that is late counts as a
    refusal at its deadline. A node that is created afterwards opens its pool again at once.
    """
    failed: dict[tuple[str, str | None], list[_Failure]] = defaultdict(list)
    for refusal in ledger.refusals:
        failed[refusal.pool, refusal.zone].append(_Failure(refusal.at, refusal.kind, refusal.detail))
    for order in overdue(ledger, now=now):
        late_s = order.deadline - order.ordered_at
        missed = f"ordered {order.count}, not all there after {late_s:.0f} s"
        failed[order.key, None].append(_Failure(order.deadline, VerdictKind.LATE, missed))
    created = _creations(ledger)
    places = sorted(failed, key=lambda place: (place[0], place[1] or ""))
    found = [_verdict(pool, zone, failed[pool, zone], created[pool] if zone is None else ()) for pool, zone in places]
    return tuple(verdict for verdict in found if verdict is not None and verdict.until > now)


def _creations(ledger: SupplyLedger) -> defaultdict[str, list[float]]:
    created: defaultdict[str, list[float]] = defaultdict(list)
    for unit in ledger.units:
        at = unit.at(Milestone.NODE_CREATED) if unit.layer is Layer.NODE else None
        if at is not None:
            created[unit.pool].append(at)
    return created


def _verdict(
    pool: str, zone: str | None, failures: Iterable[_Failure], successes: Iterable[float]
) -> PoolVerdict | None:
    standing: PoolVerdict | None = None
    in_a_row = 0
    moments: list[tuple[float, _Failure | None]] = [(failure.at, failure) for failure in failures]
    moments += [(at, None) for at in successes]
    for at, failure in sorted(moments, key=lambda moment: (moment[0], moment[1] is None, str(moment[1]))):
        if failure is None:
            standing, in_a_row = None, 0
        elif standing is None or at >= standing.until:
            in_a_row += 1
            until = at + min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** (in_a_row - 1))
            standing = PoolVerdict(
                pool=pool, zone=zone, kind=failure.kind, since=at, until=until, detail=failure.detail
            )
    return standing
