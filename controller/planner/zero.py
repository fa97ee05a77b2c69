"""To zero replicas and back. Going needs proof that nobody comes; coming back needs only a sign, or blindness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.domain.forecast import LeadSource, LeadTime
from controller.domain.plan import Reason, Step
from controller.domain.reading import Known, Unknown
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.size import Sizing
from controller.policy.model import ScaleToZero
from controller.policy.schedule import Occurrence

NEGLIGIBLE_LOAD = 0.05
"""A forecast that fills less than this share of one replica neither wakes nor keeps awake."""

BLIND_S = 60.0
"""At zero, a front door that cannot be seen for this long counts as a knock."""


def watched(memory: DeploymentMemory, snapshot: Snapshot, *, now: float) -> DeploymentMemory:
    """Remember since when there is believed to be no traffic at all, and since when the door cannot be seen."""
    door = snapshot.at_the_door
    silent = snapshot.idle and not snapshot.blind_spots and isinstance(door, Known) and door.value <= 0
    return replace(
        memory,
        idle_since=_since(memory.idle_since, now) if silent else None,
        unseen_since=_since(memory.unseen_since, now) if isinstance(door, Unknown) else None,
    )


def may_rest(wanted: Step, sizing: Sizing, *, load_ahead: float) -> bool:
    """Whether nothing is in flight, announced, or forecast to be worth a replica."""
    if wanted.replicas == 0:
        return True
    hardly = sizing.reason is Reason.FORECAST and sizing.reactive.replicas == 0 and load_ahead < NEGLIGIBLE_LOAD
    return wanted.replicas == sizing.needed == 1 and hardly


def from_zero(
    stable: Step,
    sizing: Sizing,
    snapshot: Snapshot,
    memory: DeploymentMemory,
    *,
    load_ahead: float,
    now: float,
) -> Step:
    """Return 0 while nobody knocks, at least 1 as soon as somebody does; no delay holds that up.

    What is announced, or forecast (``load_ahead``, in full replicas), wakes too. A sizing that only says that
    idleness is not proven does not: with no replica there is nothing left to prove it with, and the front door
    is what counts.
    """
    unneeded = not _is_needed(sizing, snapshot, load_ahead)
    door = snapshot.at_the_door
    if isinstance(door, Unknown):
        blind_s = now - _since(memory.unseen_since, now)
        if blind_s >= BLIND_S:
            detail = f"nothing runs, and for {blind_s:.0f} s it cannot be seen whether somebody comes: {door.reason}"
            return Step("zero", max(stable.replicas, 1), Reason.WAKE, detail)
        if unneeded:
            return Step("zero", 0, Reason.ASLEEP, f"the front door is unseen for {blind_s:.0f} of {BLIND_S:g} s")
        return Step("zero", stable.replicas, stable.reason, f"the front door is unseen: {door.reason}")
    if door.value > 0:
        detail = f"{door.value:.0f} at the front door while nothing runs"
        return Step("zero", max(stable.replicas, 1), Reason.WAKE, detail)
    if unneeded:
        return Step("zero", 0, Reason.ASLEEP, "nobody is at the front door")
    return Step("zero", stable.replicas, stable.reason, "nobody is at the front door yet")


def to_zero(
    rule: ScaleToZero,
    snapshot: Snapshot,
    memory: DeploymentMemory,
    lead: LeadTime,
    near: Sequence[Occurrence],
    *,
    now: float,
) -> Step:
    """Return 0 where all that is promised can be kept, else 1 and why not."""
    refused = _unseen(snapshot) or _too_early(rule, memory, now) or _announced(near) or _too_slow(rule, lead)
    if refused is not None:
        reason, why = refused
        return Step("zero", 1, reason, f"not to zero: {why}")
    idle_s = now - _since(memory.idle_since, now)
    detail = (
        f"idle for {idle_s:.0f} s; a start takes {lead.p90_s:.0f} s (p90), promised {rule.cold_start_promise_s:g} s"
    )
    return Step("zero", 0, Reason.IDLE, detail)


def _unseen(snapshot: Snapshot) -> tuple[Reason, str] | None:
    door = snapshot.at_the_door
    if isinstance(door, Known):
        return None
    return Reason.BLIND_SPOT, f"nobody could be seen at the front door ({door.reason})"


def _too_early(rule: ScaleToZero, memory: DeploymentMemory, now: float) -> tuple[Reason, str] | None:
    idle_s = 0.0 if memory.idle_since is None else now - memory.idle_since
    if memory.idle_since is not None and idle_s >= rule.after_idle_s:
        return None
    return Reason.IDLE_DELAY, f"idle for {idle_s:.0f} of {rule.after_idle_s:g} s"


def _announced(near: Sequence[Occurrence]) -> tuple[Reason, str] | None:
    return (Reason.SCHEDULE, f"{near[0].event.name} is on or begins soon") if near else None


def _too_slow(rule: ScaleToZero, lead: LeadTime) -> tuple[Reason, str] | None:
    if lead.source is LeadSource.DEFAULT:
        return Reason.COLD_START, "how long a start takes was neither measured nor configured"
    if lead.p90_s > rule.cold_start_promise_s:
        promise = f"promised {rule.cold_start_promise_s:g} s"
        return Reason.COLD_START, f"a start takes {lead.p90_s:.0f} s (p90, {lead.source.value}), {promise}"
    return None


def _is_needed(sizing: Sizing, snapshot: Snapshot, load_ahead: float) -> bool:
    """Whether demand, forecast or an event asks for a replica, and not only the lack of proof."""
    if any(isinstance(reading, Known) and reading.value > 0 for reading in snapshot.demand.values()):
        return True
    return sizing.reason is Reason.SCHEDULE or load_ahead >= NEGLIGIBLE_LOAD


def _since(since: float | None, now: float) -> float:
    return now if since is None else min(since, now)
