"""What the records of a controller of one deployment tell of a fault of a real stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from controller.domain.plan import Action
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.snapshot import Snapshot
from controller.domain.state import PlannerState
from controller.planner.decide import decide
from controller.policy.model import DeploymentPolicy
from tests.chaos.invariants import RECOVERY_TICKS, BrokenError
from tests.planning import given

MOST = 2
"""Replicas that the policy allows."""
_MOST_TICKS = 5


class Wait(Protocol):
    """Wait until a condition holds; so many seconds at most on a quiet machine."""

    def __call__(self, condition: Callable[[], bool], within_s: float, what: str, /) -> float: ...


def chat(record: TickRecord) -> DeploymentRecord:
    """The only deployment's part."""
    (deployment,) = record.deployments
    return deployment


def said(records: Sequence[TickRecord]) -> str:
    """Everything that these records say is unreadable or missing."""
    told: dict[str, None] = {}
    for record in records:
        told |= dict.fromkeys(record.degraded)
        told |= dict.fromkeys(chat(record).snapshot.blind_spots)
        told |= dict.fromkeys(source.error for source in record.sources if source.error)
    return "; ".join(told)


def began_at(record: TickRecord) -> float:
    """When this tick began to look: its own time is the one when it had looked."""
    return record.at - sum(seconds for _, seconds in record.step_seconds[: _looked(record)])


def ended_at(record: TickRecord) -> float:
    """When this tick was over."""
    return record.at + sum(seconds for _, seconds in record.step_seconds[_looked(record) :])


def _looked(record: TickRecord) -> int:
    return [name for name, _ in record.step_seconds].index("collect") + 1


def all_new(record: TickRecord) -> bool:
    """Whether every source answered while this tick looked."""
    took = record.at - began_at(record)
    return all(source.error is None and source.age_s is not None and source.age_s <= took for source in record.sources)


def blindness(records: Sequence[TickRecord]) -> list[str]:
    """What these records say was not seen, oldest first."""
    return [spot for record in records for spot in chat(record).snapshot.blind_spots]


def intact(records: Sequence[TickRecord]) -> None:
    """Nothing was lowered, no limit exceeded, and no tick is missing."""
    if not records:
        msg = "no tick fell into this time"
        raise BrokenError(msg)
    for record in records:
        decision = chat(record).decision
        if decision.action is Action.SCALE_DOWN:
            msg = f"lowered from {decision.current} to {decision.desired}: {decision.binding}"
            raise BrokenError(msg)
        if decision.desired is not None and not 1 <= decision.desired <= MOST:
            msg = f"tick {record.tick} wants {decision.desired}"
            raise BrokenError(msg)
    ticks = [record.tick for record in records]
    if ticks != list(range(ticks[0], ticks[0] + len(ticks))):
        msg = f"ticks are {ticks}"
        raise BrokenError(msg)


def ordered_once(records: Sequence[TickRecord]) -> None:
    """Nothing was ordered: what is missing was ordered before, and comes back by itself."""
    for record in records:
        decision = chat(record).decision
        if decision.action is Action.SCALE_UP:
            msg = f"ordered from {decision.current} to {decision.desired}: {decision.binding}"
            raise BrokenError(msg)


def replayed(
    records: Sequence[TickRecord], rules: DeploymentPolicy, change: Callable[[Snapshot], Snapshot]
) -> list[TickRecord]:
    """Return what would have been decided had it looked so: each recorded snapshot, changed, through the planner."""
    state, anew = PlannerState(), []
    for record in records:
        looked = change(chat(record).snapshot)
        plan, state = decide([given(looked, rules)], state, now=record.at, budget=None)
        seen = replace(chat(record), snapshot=looked, decision=plan.decisions[0])
        anew.append(replace(record, deployments=(seen,)))
    return anew


def ready_for_target(seen: Snapshot) -> Snapshot:
    """As if the target were what is ready: a replica that is missing would be ordered once more."""
    return replace(seen, target_replicas=seen.replicas.ready if seen.replicas else None)


def recovery_s(records: Callable[[float], Sequence[TickRecord]], since: float, wait: Wait) -> float:
    """Return the seconds from ``since`` to the end of the first tick that saw everything.

    At most two ticks that begin later and in which all sources answer may pass. Where a machine is busy, one may not:
    five in all.
    """
    seen: Sequence[TickRecord] = ()

    def late(ticks: Sequence[TickRecord]) -> bool:
        return len(_answered(ticks)) >= RECOVERY_TICKS or len(ticks) >= _MOST_TICKS

    def over() -> bool:
        nonlocal seen
        seen = [record for record in records(since) if began_at(record) > since]
        return any(sees(one) for one in seen) or late(seen)

    wait(over, 30, "a tick that sees everything")
    for number, record in enumerate(seen):
        if late(seen[:number]):
            break
        if sees(record):
            return ended_at(record) - since
    msg = f"does not see everything after {len(seen)} ticks: {said(seen)}"
    raise BrokenError(msg)


def _answered(records: Sequence[TickRecord]) -> list[TickRecord]:
    """Leave out the ticks in which a source did not answer."""
    return [record for record in records if not any(source.error for source in record.sources)]


def sees(record: TickRecord) -> bool:
    """Whether nothing is hidden from this tick."""
    return not chat(record).snapshot.blind_spots and chat(record).decision.desired is not None
