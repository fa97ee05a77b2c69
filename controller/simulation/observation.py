"""What can be seen of a simulated fleet: the counters and gauges that the real systems show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from controller.simulation.state import (
    ARRIVED,
    DOOR_LENGTH,
    IN_FLIGHT,
    IN_FLIGHT_SECONDS,
    ITERATIONS,
    NOW,
    PROMPT_TOKENS,
    RUNNING,
    SERVED_COUNT,
    STARTING,
    STOPPING,
    UNSERVED,
    WAITING_NOW,
    WAITING_SECONDS,
    Ints,
    State,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplicaView:
    """One replica. ``counters`` and buckets (not cumulative, overflow last) are in the order of ``state``."""

    replica: int
    state: int
    ordered_at: float
    started_at: float
    ready_at: float
    in_flight: int
    running: int
    waiting: int
    kv_usage: float
    counters: Ints
    ttft: Ints
    itl: Ints
    tpot: Ints
    e2e: Ints


class ReplicaLoad(NamedTuple):
    """What one ready replica holds. ``prompt_tokens`` and ``iterations`` count from its start."""

    replica: int
    in_flight: int
    waiting: int
    backlog_tokens: int
    """Prompt tokens not read yet: of those that wait, and the rest of those being read."""
    decoding: int
    context_tokens: int
    """Of the decoding requests."""
    kv_tokens: int
    """Held in the KV cache."""
    prompt_tokens: int
    iterations: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """The whole fleet. Counters count from the start; ``..._seconds`` are integrals over time.

    ``ready`` replicas take requests, ``starting`` ones were ordered, ``stopping`` ones finish what they have.
    ``replicas`` are the ready ones, for those who asked for detail.
    """

    at: float
    target: int
    arrived: int
    served: int
    unserved: int
    in_flight: int
    at_the_door: int
    waiting: int
    in_flight_seconds: float
    waiting_seconds: float
    ready: int
    starting: int
    stopping: int
    arrived_prompt_tokens: int = 0
    arrived_output_tokens: int = 0
    """That the requests that arrived will get, which no real system knows at their arrival."""
    replicas: tuple[ReplicaLoad, ...] = ()


class _Lifetime(Protocol):
    replica: int
    ordered_at: float
    started_at: float
    ready_at: float


def observation_of(state: State, totals: Ints, *, target: int, replicas: tuple[ReplicaLoad, ...] = ()) -> Observation:
    """Read the totals; row n of ``totals`` has the prompt and output tokens of the first n requests."""
    floats, ints = state.floats.tolist(), state.ints.tolist()
    states = state.slots["state"].tolist()
    prompt_tokens, output_tokens = totals[ints[ARRIVED]].tolist()
    return Observation(
        at=floats[NOW],
        target=target,
        arrived=ints[ARRIVED],
        served=ints[SERVED_COUNT],
        unserved=ints[UNSERVED],
        in_flight=ints[IN_FLIGHT],
        at_the_door=ints[DOOR_LENGTH],
        waiting=ints[WAITING_NOW],
        in_flight_seconds=floats[IN_FLIGHT_SECONDS],
        waiting_seconds=floats[WAITING_SECONDS],
        ready=states.count(RUNNING),
        starting=states.count(STARTING),
        stopping=states.count(STOPPING),
        arrived_prompt_tokens=prompt_tokens,
        arrived_output_tokens=output_tokens,
        replicas=replicas,
    )


def replica_loads(state: State, backlog: Ints) -> tuple[ReplicaLoad, ...]:
    """Read every ready replica of a settled state; ``backlog`` has a slot's unread prompt tokens."""
    ready = np.flatnonzero(state.slots.state == RUNNING)
    slots, counters = state.slots[ready], state.counters[ready]
    columns = (
        slots.replica,
        slots.in_flight,
        slots.waiting,
        backlog[ready],
        slots.decoding,
        slots.context,
        slots.kv,
        counters[:, PROMPT_TOKENS],
        counters[:, ITERATIONS],
    )
    return tuple(ReplicaLoad(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def replica_views(
    state: State, lifetimes: Sequence[_Lifetime], slot_of: Mapping[int, int], *, kv_cap: int
) -> tuple[ReplicaView, ...]:
    """Read every replica of a settled state."""
    return tuple(_view(state, life, slot_of[life.replica], kv_cap) for life in lifetimes)


def _view(state: State, life: _Lifetime, slot: int, kv_cap: int) -> ReplicaView:
    slots = state.slots
    return ReplicaView(
        replica=life.replica,
        state=int(slots.state[slot]),
        ordered_at=life.ordered_at,
        started_at=life.started_at,
        ready_at=life.ready_at,
        in_flight=int(slots.in_flight[slot]),
        running=int(slots.decoding[slot] + slots.prefilling[slot]),
        waiting=int(slots.waiting[slot]),
        kv_usage=float(slots.kv[slot]) / kv_cap,
        counters=state.counters[slot].copy(),
        ttft=state.ttft[slot].copy(),
        itl=state.itl[slot].copy(),
        tpot=state.tpot[slot].copy(),
        e2e=state.e2e[slot].copy(),
    )
