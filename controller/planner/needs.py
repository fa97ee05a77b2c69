"""How many replicas each layer is to carry: what is wanted now, and what is foreseen at the end of its lead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.domain.cluster_record import LayerNeed
from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.placement import ReplicaDemand, WantedBy
from controller.domain.plan import Decision, Reason
from controller.domain.snapshot import NOT_DEPLOYED
from controller.domain.state import DeploymentMemory
from controller.domain.workers import ReplicaShape
from controller.planner.announced import announced
from controller.planner.backlog import backlog
from controller.planner.capacity.error_budget import careful
from controller.planner.decide import PlanInput
from controller.planner.overridden import covering
from controller.planner.size import Sizing, size
from controller.planner.zero import NEGLIGIBLE_LOAD

LASTING_S = 60.0
"""Workers and nodes take minutes to come and to go: they are ordered for what was foreseen so long without a break."""

_PRIORITIES_TOLD, _STEP, _FINENESS = 3, 100, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """One layer's horizon: ``due_s`` from an order on it to a replica that serves, and what is foreseen until then."""

    layer: Layer
    due_s: float
    forecasts: tuple[Forecast, ...]
    forecast_unavailable: str | None


def layer_needs(
    given: PlanInput, decision: Decision, ahead: Sequence[Ahead], memory: DeploymentMemory, *, now: float
) -> tuple[tuple[LayerNeed, ...], DeploymentMemory]:
    """Return a need for each entry of ``ahead``, the replica's own first, none less than the one before.

    The replica layer needs what was decided. The layers below need what sizing finds at their own horizon, announced
    events included, within the limits. What is foreseen there must fit the planned load, for what these layers lack is
    lacking for minutes, and must have been foreseen for ``LASTING_S``. They give something up only after it was not
    needed for ``downscale_delay_s``. While demand is unknown nothing is given up. While it is known so briefly that one
    reading would decide, nothing is asked for that needs a node.
    """
    needs: list[LayerNeed] = []
    most = _while_brief(given, decision, now)
    windows, rises = dict(memory.ahead), dict(memory.rising)
    gone = given.snapshot.status == NOT_DEPLOYED
    base = decision.desired if most is None or decision.desired is None else min(decision.desired, most)
    for one in ahead:
        wish = _wish(given, decision, one, memory, now=now)
        if wish.known and one.layer is not Layer.REPLICA:
            rises[one.layer] = _risen(rises.get(one.layer, ()), wish.foreseen, now)
        wanted, why = _lasting(wish, rises.get(one.layer, ()), now)
        if most is not None and wanted > most:
            wanted, why = most, f"{wanted} known too briefly to order a node for: {why}"
        if gone:
            windows.pop(one.layer, None)
            rises.pop(one.layer, None)
        elif one.layer is not Layer.REPLICA or base is None:
            window = _window(windows.get(one.layer, ()), wanted if wish.known else None, given, now)
            windows[one.layer] = window
            wanted, why = _held(wanted, why, window, given)
        if one.layer is Layer.REPLICA and base is not None:
            windows[one.layer] = ((now, base),)
        floor = needs[-1].replicas if needs else 0
        if floor > wanted:
            wanted, why = floor, f"as many as the layer above; {why}"
        needs.append(LayerNeed(id=decision.id, layer=one.layer, due_s=one.due_s, replicas=wanted, detail=why))
    return tuple(needs), replace(memory, ahead=tuple(sorted(windows.items())), rising=tuple(sorted(rises.items())))


def demand_of(
    shape: ReplicaShape, needs: Sequence[LayerNeed], *, replica_s: float, elsewhere: int, weight: int
) -> ReplicaDemand:
    """Turn needs into what is asked of the cluster; replicas ``elsewhere`` need no place here."""
    return ReplicaDemand(
        id=needs[0].id,
        shape=shape,
        replica_lead_s=replica_s,
        wanted=tuple(WantedBy(need.due_s, max(0, need.replicas - elsewhere)) for need in needs),
        weight=weight,
    )


def weights(terms: Mapping[DeploymentId, tuple[int, float]]) -> Mapping[DeploymentId, int]:
    """How often a GPU of each deployment counts in a shortage, from (priority, weight), in the smallest numbers.

    A higher priority counts a hundred times the next lower one, for the three highest; the lower ones count alike.
    """
    steps = sorted({priority for priority, _ in terms.values()})
    lowest = max(0, len(steps) - _PRIORITIES_TOLD)
    counts = {
        name: _STEP ** max(0, steps.index(priority) - lowest) * max(1, round(_FINENESS * weight))
        for name, (priority, weight) in terms.items()
    }
    common = math.gcd(*counts.values()) if counts else 1
    return {name: count // common for name, count in counts.items()}


@dataclass(frozen=True, slots=True)
class _Wish:
    """Replicas that a layer should carry by itself: ``now`` for certain, and ``foreseen``, at least as many."""

    now: int
    foreseen: int
    detail: str
    known: bool = True


def _while_brief(given: PlanInput, decision: Decision, now: float) -> int | None:
    """The most that layers are to carry while the next replica needs a node and a single reading might be behind it."""
    current, floor = decision.current, given.policy.limits.min_replicas
    node = any(one.layer is Layer.NODE for one in given.lead.layers)
    if not given.brief or not node or current is None or covering(given.overrides, decision.id, now):
        return None
    announced_now = max((step.replicas for step in decision.steps if step.stage == "schedule"), default=0)
    return max(current, floor, announced_now, 1)


def _wish(given: PlanInput, decision: Decision, ahead: Ahead, memory: DeploymentMemory, *, now: float) -> _Wish:
    if given.snapshot.status == NOT_DEPLOYED:
        return _Wish(0, 0, "Serve does not have it")
    if decision.desired is None:
        return _Wish(0, 0, "its target is unknown", known=False)
    if ahead.layer is Layer.REPLICA or given.policy.paused:
        return _Wish(decision.desired, decision.desired, f"{decision.desired} decided")
    sizing = _sizing(given, ahead, memory, decision.desired, now)
    if decision.desired == 0 and _asleep(given, ahead, sizing):
        return _Wish(0, 0, "asleep, and nothing foreseen")
    most = given.policy.limits.max_replicas
    certain = max(sizing.reactive.replicas, 0 if sizing.scheduled is None else sizing.scheduled.replicas)
    decisive = next(step for step in sizing.steps if step.replicas == sizing.needed)
    return _Wish(min(certain, most), min(sizing.needed, most), decisive.detail, sizing.complete)


def _risen(before: Iterable[tuple[float, int]], foreseen: int, now: float) -> tuple[tuple[float, int], ...]:
    """Since when without a break at least so many are foreseen: (since, replicas), both ascending."""
    known = [(min(since, now), replicas) for since, replicas in before]
    since = min((since for since, replicas in known if replicas >= foreseen), default=now)
    lower = [(start, replicas) for start, replicas in known if replicas < foreseen]
    settled = [entry for entry in lower if entry[0] <= now - LASTING_S]
    return (*settled[-1:], *(entry for entry in lower if entry[0] > now - LASTING_S), (since, foreseen))


def _lasting(wish: _Wish, rise: Iterable[tuple[float, int]], now: float) -> tuple[int, str]:
    """What is needed now, and what was foreseen for long enough; with the arithmetic."""
    lasting = max((replicas for since, replicas in rise if since <= now - LASTING_S), default=0)
    wanted = max(wish.now, min(wish.foreseen, lasting))
    if wanted == wish.foreseen:
        return wanted, wish.detail
    return wanted, f"{wish.foreseen} not foreseen for {LASTING_S:g} s yet: {wish.detail}"


def _sizing(given: PlanInput, ahead: Ahead, memory: DeploymentMemory, current: int, now: float) -> Sizing:
    sizing = size(
        given.snapshot,
        given.capacity,
        ahead.forecasts,
        quantile=careful(
            given.policy.forecast.target_quantile,
            memory.capacity.record if memory.capacity else None,
            allowed=given.policy.forecast.allowed_misses,
        ),
        forecast_unavailable=ahead.forecast_unavailable,
        current=current,
        sustained=given.sustained,
        lasting=True,
        backlog=backlog(given.snapshot, memory),
    )
    if not given.policy.events:
        return sizing
    ahead_s = ahead.due_s + given.policy.stabilisation.upscale_delay_s + given.interval_s
    usual = memory.usual_load
    return sizing.at_least(
        announced(sizing, given.policy.events, given.capacity, usual_load=usual, now=now, ahead_s=ahead_s)
    )


def _asleep(given: PlanInput, ahead: Ahead, sizing: Sizing) -> bool:
    """Whether nothing but the lack of proof asks for a replica."""
    if sizing.reason is Reason.SCHEDULE:
        return False
    per_replica, quantile = given.capacity.per_replica, given.policy.forecast.target_quantile
    loads = (one.quantile(quantile) / per_replica[one.signal] for one in ahead.forecasts if one.signal in per_replica)
    return max(loads, default=0.0) < NEGLIGIBLE_LOAD


def _window(
    before: Iterable[tuple[float, int]], wanted: int | None, given: PlanInput, now: float
) -> tuple[tuple[float, int], ...]:
    """Needs of the last ``downscale_delay_s`` that can still be their maximum; while unknown, none of them ages."""
    delay_s = given.policy.stabilisation.downscale_delay_s
    if wanted is None:
        held = max((replicas for _, replicas in before), default=None)
        return () if held is None else ((now, held),)
    recent = [(min(at, now), replicas) for at, replicas in before if min(at, now) >= now - delay_s]
    return (*((at, replicas) for at, replicas in recent if replicas > wanted), (now, wanted))


def _held(wanted: int, why: str, window: Sequence[tuple[float, int]], given: PlanInput) -> tuple[int, str]:
    largest = max((replicas for _, replicas in window), default=wanted)
    most = max(wanted, given.policy.limits.max_replicas)
    if min(largest, most) <= wanted:
        return wanted, why
    delay_s = given.policy.stabilisation.downscale_delay_s
    return min(largest, most), f"{largest} within the last {delay_s:g} s; now {wanted}: {why}"
