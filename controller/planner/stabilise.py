"""Delays and hysteresis: a need that rises is followed soon, one that falls only when it stays low."""

from __future__ import annotations

import math
from dataclasses import replace

from controller.domain.plan import Reason, Step
from controller.domain.snapshot import UPDATING, Snapshot
from controller.domain.state import DeploymentMemory
from controller.planner.size import SPARE_SHARE, Sizing
from controller.policy.model import Stabilisation

LEARNING_S = 300.0
"""So long a replica's capacity is waited for, when engines show what it is, before anything is given up without it."""

_FORGIVEN_DIPS = 1
"""Ticks in a row without the higher need that do not restart the upscale delay."""


def stabilise(
    sizing: Sizing,
    snapshot: Snapshot,
    memory: DeploymentMemory,
    rule: Stabilisation,
    *,
    current: int,
    now: float,
    learning: bool = False,
) -> tuple[Step, DeploymentMemory]:
    """Pass on a higher need after the upscale delay, and a lower one after the downscale delay.

    Raising never waits for anything else. Lowering goes only as far as the largest roomy size of the
    last downscale delay, and needs uninterrupted knowledge over that time, no blind spot, and no other
    lowering or update still under way. ``learning``: what a replica carries is about to be known; what is there is not
    given up by a guess, for ``LEARNING_S`` at most.
    """
    since = _not_after(now, memory.unlearned_since) if learning else None
    memory = replace(memory, unlearned_since=since)
    memory = _remember(sizing, snapshot, memory, rule, current=current, now=now)
    if sizing.needed > current:
        return _raise(sizing, memory, rule, current=current, now=now), memory
    if sizing.reason is Reason.NO_DATA:
        return Step("stabilise", current, Reason.NO_DATA, f"hold {current} while demand is unknown"), memory
    if sizing.needed == current:
        return Step("stabilise", current, Reason.STEADY, f"{current} is what is needed"), memory
    step = _not_now(sizing, snapshot, memory, rule, current=current, now=now) or _lower(
        sizing, memory, rule, current=current
    )
    return step, memory


def _remember(
    sizing: Sizing, snapshot: Snapshot, memory: DeploymentMemory, rule: Stabilisation, *, current: int, now: float
) -> DeploymentMemory:
    believed = sizing.complete and not snapshot.blind_spots
    above_since, dips = _rise(sizing, memory, current=current, now=now)
    return replace(
        memory,
        # A gap proves nothing about demand, so the time of knowing starts again after it.
        known_since=_not_after(now, memory.known_since) if believed else None,
        recommendations=_window(memory, sizing, rule.downscale_delay_s, now),
        above_since=above_since,
        dips=dips,
    )


def _window(memory: DeploymentMemory, sizing: Sizing, delay_s: float, now: float) -> tuple[tuple[float, int], ...]:
    """Sizings of the last ``delay_s`` that can still be their maximum: each larger than all after it."""
    recent = [(min(at, now), replicas) for at, replicas in memory.recommendations if min(at, now) >= now - delay_s]
    if not sizing.complete:
        return tuple(recent)
    return (*((at, replicas) for at, replicas in recent if replicas > sizing.roomy), (now, sizing.roomy))


def _rise(sizing: Sizing, memory: DeploymentMemory, *, current: int, now: float) -> tuple[float | None, int]:
    if sizing.needed > current:
        return _not_after(now, memory.above_since), 0
    if memory.above_since is None or memory.dips >= _FORGIVEN_DIPS:
        return None, 0
    return memory.above_since, memory.dips + 1


def _not_after(now: float, since: float | None) -> float:
    return now if since is None else min(since, now)


def _raise(sizing: Sizing, memory: DeploymentMemory, rule: Stabilisation, *, current: int, now: float) -> Step:
    lasted_s = now - _not_after(now, memory.above_since)
    if lasted_s < rule.upscale_delay_s:
        detail = f"{sizing.needed} needed for {lasted_s:.0f} of {rule.upscale_delay_s:g} s"
        return Step("stabilise", current, Reason.UPSCALE_DELAY, detail)
    return Step("stabilise", sizing.needed, sizing.reason, f"from {current} to {sizing.needed}")


def _not_now(
    sizing: Sizing, snapshot: Snapshot, memory: DeploymentMemory, rule: Stabilisation, *, current: int, now: float
) -> Step | None:
    """Return the hold that forbids any lowering at this time, if there is one."""
    obstacle = _unseen(snapshot) or _unsettled(snapshot) or _too_early(memory, rule.downscale_delay_s, now)
    if obstacle is None:
        return None
    reason, why = obstacle
    return Step("stabilise", current, reason, f"hold {current} although {sizing.needed} would do: {why}")


def _unseen(snapshot: Snapshot) -> tuple[Reason, str] | None:
    if snapshot.blind_spots:
        return Reason.BLIND_SPOT, ", ".join(snapshot.blind_spots)
    if snapshot.replicas is None:
        return Reason.NO_DATA, "replica counts are unknown"
    return None


def _unsettled(snapshot: Snapshot) -> tuple[Reason, str] | None:
    if snapshot.replicas is not None and snapshot.replicas.stopping > 0:
        return Reason.UNSETTLED, f"{snapshot.replicas.stopping} still stopping"
    if snapshot.status == UPDATING:
        return Reason.UNSETTLED, "the deployment is being updated"
    return None


def _too_early(memory: DeploymentMemory, delay_s: float, now: float) -> tuple[Reason, str] | None:
    if memory.foreign_since is not None and now - memory.foreign_since < delay_s:
        left_s = delay_s - (now - memory.foreign_since)
        return Reason.DOWNSCALE_DELAY, f"somebody else set it, left alone for another {left_s:.0f} s"
    known_s = now - _not_after(now, memory.known_since)
    learning_s = math.inf if memory.unlearned_since is None else now - memory.unlearned_since
    if learning_s < LEARNING_S:
        detail = f"what a replica carries is learned for {learning_s:.0f} s, given {LEARNING_S:g} s"
        return Reason.DOWNSCALE_DELAY, detail
    if known_s < delay_s:
        return Reason.DOWNSCALE_DELAY, f"demand known without a break for {known_s:.0f} of {delay_s:g} s"
    return None


def _lower(sizing: Sizing, memory: DeploymentMemory, rule: Stabilisation, *, current: int) -> Step:
    largest = max(replicas for _, replicas in memory.recommendations)
    if largest < current:
        detail = f"at most {largest} needed over the last {rule.downscale_delay_s:g} s"
        return Step("stabilise", largest, sizing.reason, detail)
    if sizing.roomy >= current:
        detail = f"{sizing.needed} would do, but without {SPARE_SHARE:.0%} to spare"
        return Step("stabilise", current, Reason.STEADY, detail)
    detail = f"{largest} needed within the last {rule.downscale_delay_s:g} s"
    return Step("stabilise", current, Reason.DOWNSCALE_DELAY, detail)
