"""A fleet of replicas behind one front door, moved through virtual time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.simulation.backlog import unread_prompts
from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand
from controller.simulation.engine import advance, settle
from controller.simulation.nodes import Nodes
from controller.simulation.observation import (
    Observation,
    ReplicaLoad,
    ReplicaView,
    observation_of,
    replica_loads,
    replica_views,
)
from controller.simulation.state import (
    EMPTY,
    GONE,
    NOW,
    RUNNING,
    STARTING,
    STOPPING,
    Rows,
    clear_slot,
    new_state,
    speed_of,
    with_more_slots,
)

_SLOTS = 16


@dataclass(slots=True, kw_only=True)
class Lifetime:
    """One replica's life, in seconds of virtual time; None has not happened. ``busy_s`` is known once it is gone."""

    replica: int
    node: int
    ordered_at: float
    started_at: float
    ready_at: float
    stopped_at: float | None = None
    gone_at: float | None = None
    busy_s: float = 0.0


class Fleet:
    """Simulates ``demand`` on a fleet that begins with ``initial`` ready replicas.

    The same arguments and the same orders give the same result. The nth replica ordered takes the same time to
    start whatever was done before, so that policies meet the same luck. ``macro=False`` advances iteration by
    iteration, for tests.
    """

    def __init__(
        self, demand: Demand, cluster: ClusterSpec, *, seed: int, initial: int = 1, macro: bool = True
    ) -> None:
        self.cluster = cluster
        self._speed = speed_of(cluster, macro=macro)
        self._state = new_state(
            demand.arrival_s,
            demand.prompt_tokens,
            demand.output_tokens,
            slots=_SLOTS,
            max_seqs=cluster.replica.max_num_seqs,
        )
        self._tokens = np.zeros((len(demand) + 1, 2), dtype=np.int64)
        np.cumsum(np.stack((demand.prompt_tokens, demand.output_tokens), axis=1), axis=0, out=self._tokens[1:])
        self.nodes = Nodes(cluster)
        self._seed = seed
        self._lifetimes: list[Lifetime] = []
        self._slot_of: dict[int, int] = {}
        self.target = initial
        self.scale_ups = 0
        self.scale_downs = 0
        for _ in range(initial):
            self._start(ready_after_s=0.0)

    @property
    def now(self) -> float:
        """Virtual time, seconds."""
        return float(self._state.floats[NOW])

    @property
    def requests(self) -> Rows:
        """Every request with what came of it; do not change it."""
        return self._state.requests

    @property
    def lifetimes(self) -> tuple[Lifetime, ...]:
        """Every replica that was ever ordered, in order."""
        return tuple(self._lifetimes)

    def advance(self, until_s: float) -> None:
        """Let time pass until ``until_s``."""
        advance(self._state, self._speed, until_s)
        for slot in np.flatnonzero(self._state.slots.state == GONE).tolist():
            self._bury(slot, float(self._state.slots.gone_at[slot]))

    def set_target(self, replicas: int) -> None:
        """Order or give up replicas until ``replicas`` serve or start, within the cluster's limits."""
        limits = self.cluster.limits
        wanted = min(max(replicas, limits.min_replicas), limits.max_replicas)
        if wanted > self.target:
            self.scale_ups += 1
        elif wanted < self.target:
            self.scale_downs += 1
        self.target = wanted
        change = wanted - self._alive()
        if change > 0:
            for _ in range(change):
                self._start()
        elif change < 0:
            self._give_up(-change)

    def order(self, *, ready_after_s: float) -> None:
        """Start one replica that will take exactly this long: for plans that know the future."""
        self.target += 1
        self.scale_ups += 1
        self._start(ready_after_s=ready_after_s)

    def release(self) -> None:
        """Give up one replica."""
        self.target -= 1
        self.scale_downs += 1
        self._give_up(1)

    def observe(self, *, detail: bool = False) -> Observation:
        """Read the totals as they stand now; with ``detail`` every ready replica's load too."""
        loads: tuple[ReplicaLoad, ...] = ()
        if detail:
            settle(self._state)
            loads = replica_loads(self._state, unread_prompts(self._state))
        return observation_of(self._state, self._tokens, target=self.target, replicas=loads)

    def replicas(self) -> tuple[ReplicaView, ...]:
        """Read every replica's counters and gauges as they stand now."""
        settle(self._state)
        return replica_views(self._state, self._lifetimes_alive(), self._slot_of, kv_cap=self._speed.kv_cap)

    def finish(self) -> None:
        """Count what still runs as if it ended now."""
        settle(self._state)
        now = self.now
        for life in self._lifetimes_alive():
            life.busy_s = float(self._state.slots.busy[self._slot_of[life.replica]])
        self.nodes.close(now)

    @property
    def idle_node_gpu_s(self) -> float:
        """GPU seconds of nodes that were kept empty."""
        return self.nodes.idle_seconds * self.nodes.gpus

    def startup_s(self, replica: int) -> float:
        """How long the nth replica takes from its node to ready."""
        low, high = self.cluster.replica.startup_s
        return float(np.random.default_rng([self._seed, replica]).uniform(low, high))

    def _lifetimes_alive(self) -> list[Lifetime]:
        return [self._lifetimes[replica] for replica in self._slot_of]

    def _alive(self) -> int:
        states = self._state.slots.state
        return int(np.count_nonzero((states == STARTING) | (states == RUNNING)))

    def _start(self, *, ready_after_s: float | None = None) -> None:
        now = self.now
        replica = len(self._lifetimes)
        node, node_at = self.nodes.place(now, at_once=ready_after_s == 0.0)
        ready_at = node_at + self.startup_s(replica) if ready_after_s is None else now + ready_after_s
        started_at = min(node_at, ready_at)
        slot = self._free_slot()
        slots = self._state.slots
        is_ready = ready_at <= now
        slots.state[slot] = RUNNING if is_ready else STARTING
        slots.event_at[slot] = np.inf if is_ready else ready_at
        slots.replica[slot] = replica
        self._slot_of[replica] = slot
        self._lifetimes.append(
            Lifetime(replica=replica, node=node, ordered_at=now, started_at=started_at, ready_at=ready_at)
        )

    def _give_up(self, count: int) -> None:
        """Starting replicas go first, then the newest; those that have requests finish them."""
        slots = self._state.slots
        states = {replica: int(slots.state[slot]) for replica, slot in self._slot_of.items()}
        candidates = [replica for replica, state in states.items() if state in (STARTING, RUNNING)]
        candidates.sort(key=lambda replica: (states[replica] != STARTING, -replica))
        for replica in candidates[:count]:
            slot = self._slot_of[replica]
            self._lifetimes[replica].stopped_at = self.now
            if slots.in_flight[slot] > 0:
                slots.state[slot] = STOPPING
            else:
                self._bury(slot, self.now)

    def _bury(self, slot: int, at: float) -> None:
        slots = self._state.slots
        life = self._lifetimes[int(slots.replica[slot])]
        life.gone_at = at
        life.busy_s = float(slots.busy[slot])
        self.nodes.release(life.node, at)
        del self._slot_of[life.replica]
        clear_slot(self._state, slot)

    def _free_slot(self) -> int:
        free = np.flatnonzero(self._state.slots.state == EMPTY)
        if not len(free):
            free = np.array([len(self._state.slots.state)])
            self._state = with_more_slots(self._state, _SLOTS)
        return int(free[0])
