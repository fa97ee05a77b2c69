"""On the way down: never below what is in flight, and preferably when few requests run on those that stop."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

from controller.domain.plan import Capacity, Step
from controller.domain.plan import Reason as Why
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory
from controller.policy.model import DeploymentPolicy

_TOLERANCE = 1e-9


def in_flight_need(snapshot: Snapshot, capacity: Capacity, policy: DeploymentPolicy) -> int | None:
    """Return the replicas that the requests in flight fill; None while they are unknown.

    A replica runs as many at once as the policy says or as was learned, whichever is more.
    """
    reading = snapshot.reading(Signal.ONGOING_REQUESTS)
    if isinstance(reading, Unknown):
        return None
    return math.ceil(reading.value / _at_once(capacity, policy) - _TOLERANCE)


def drained(
    stable: Step,
    snapshot: Snapshot,
    capacity: Capacity,
    policy: DeploymentPolicy,
    memory: DeploymentMemory,
    *,
    current: int,
    now: float,
) -> tuple[Step | None, DeploymentMemory]:
    """Return how far to go down now; None where nothing is lowered.

    The requests on a replica that stops may be cut when they outlast Serve's graceful shutdown. So at first only
    idle replicas are given up, then ever busier ones, and after ``max_drain_wait_s`` any.
    """
    if stable.replicas >= current:
        return None, replace(memory, drain_since=None)
    need = in_flight_need(snapshot, capacity, policy)
    if need is None:
        return Step("drain", current, Why.NO_DATA, f"hold {current}: requests in flight are unknown"), memory
    if need > stable.replicas:
        stable = Step("drain", min(need, current), Why.IN_FLIGHT, _fill_words(snapshot, capacity, policy, need))
    if stable.replicas == current:
        return stable, replace(memory, drain_since=None)
    since = now if memory.drain_since is None else min(memory.drain_since, now)
    memory = replace(memory, drain_since=since)
    return _patient(stable, snapshot.stop_streams, policy, current=current, waited_s=now - since), memory


def _patient(
    wanted: Step, streams: tuple[float | None, ...], policy: DeploymentPolicy, *, current: int, waited_s: float
) -> Step:
    """Lower by as many replicas as have few enough requests by now, of those that Serve would stop first."""
    longest_s = policy.stabilisation.max_drain_wait_s
    fewer = min(current - wanted.replicas, policy.limits.max_step_down)
    known = list(itertools.takewhile(lambda one: one is not None, streams[:fewer]))
    running = [0.0, *itertools.accumulate(one for one in known if one is not None)]
    told = f"about {running[-1]:.0f} requests run on the next {len(known)} to stop"
    if waited_s >= longest_s or not known:
        detail = told if known else "requests on those that stop are unknown"
        return Step("drain", wanted.replicas, wanted.reason, f"{_prefix(wanted)}{detail}")
    typical = _mean(streams)
    allowed = waited_s / longest_s * typical
    ready = max(count for count, requests in enumerate(running) if requests <= count * allowed + _TOLERANCE)
    waiting = f"waited {waited_s:.0f} of {longest_s:g} s"
    if ready == 0:
        return Step("drain", current, Why.DRAIN_WAIT, f"{told}; {waiting} for fewer than usual ({typical:.1f} each)")
    if ready == len(known) == fewer:
        return Step("drain", wanted.replicas, wanted.reason, f"{_prefix(wanted)}{told}")
    detail = f"about {running[ready]:.0f} requests run on the next {ready} to stop; the rest waits"
    return Step("drain", current - ready, wanted.reason, f"{_prefix(wanted)}{detail}")


def _mean(streams: tuple[float | None, ...]) -> float:
    running = [one for one in streams if one is not None]
    return sum(running) / len(running)


def _at_once(capacity: Capacity, policy: DeploymentPolicy) -> float:
    given = policy.capacity.target_ongoing_requests
    return max(capacity.per_replica.get(Signal.ONGOING_REQUESTS, given), given)


def _fill_words(snapshot: Snapshot, capacity: Capacity, policy: DeploymentPolicy, need: int) -> str:
    reading = snapshot.reading(Signal.ONGOING_REQUESTS)
    in_flight = reading.value if isinstance(reading, Known) else 0.0
    return f"{in_flight:.1f} in flight / {_at_once(capacity, policy):g} at once per replica → {need}"


def _prefix(step: Step) -> str:
    return f"{step.detail}; " if step.stage == "drain" else ""
