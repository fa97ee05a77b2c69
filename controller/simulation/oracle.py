"""Perfect foresight: the least fleet that keeps the objectives when the whole future is known.

How it is found:

1. A fleet of every fixed size is simulated over the whole demand. For each interval that says how many of its
   requests miss an objective with so many replicas.
2. A trajectory of replicas, one number per interval, is chosen by dynamic programming: replica time, plus one mean
   start-up for each replica added, plus a price for each missed request. So a replica that is needed again soon is
   kept, and the requests that may be missed are missed where that saves most.
3. The trajectory is simulated: every replica is ordered so early that it is ready when its interval begins, and given
   up when its interval ends. The price is searched for the cheapest trajectory that still keeps the attainment.

It is an upper bound on the true optimum (found by simulation, in steps of one interval), and it knows each start-up
time in advance, as no controller can.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand
from controller.simulation.driver import Progress, Run, Sampler, end_of_run, ignore_progress
from controller.simulation.fleet import Fleet
from controller.simulation.outcome import Objectives, met
from controller.simulation.state import Floats, Ints

_INTERVAL_S = 30.0
_STRETCH_S = 60.0
_RUN_UP_S = 30.0
_REST_S = 150.0
_DRAIN_S = 7200.0
_ENOUGH = 0.9999
_PRICES = 11
_LEAST_PRICE_S = 0.1
_MOST_PRICE_S = 100.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hindsight:
    """Misses by fleet size and interval: ``missed[i]`` is with ``sizes[i]`` replicas."""

    sizes: Ints
    missed: Ints
    requests: int
    interval_s: float

    def least_static(self, attainment: float) -> int:
        """Return the smallest fixed fleet that keeps the attainment; the largest one when none does."""
        shares = 1.0 - self.missed.sum(axis=1) / self.requests
        enough = np.flatnonzero(shares >= attainment)
        return int(self.sizes[enough[0]] if len(enough) else self.sizes[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleRun:
    """The cheapest run found that keeps the attainment."""

    run: Run
    initial: int


def look_back(
    demand: Demand, cluster: ClusterSpec, *, objectives: Objectives, progress: Progress = ignore_progress
) -> Hindsight:
    """Simulate fixed fleets from small to large until nearly nothing is missed any more.

    Each stretch of the demand is met by a rested fleet, with a little of what came before it as a run-up, so that
    what a fleet was too small for earlier does not count against it later. Start-ups play no part here.
    """
    intervals = int(np.ceil(demand.length_s / _INTERVAL_S))
    stretched, interval_of = _stretches(demand, intervals)
    limits = cluster.limits
    sizes = range(max(1, limits.min_replicas), limits.max_replicas + 1)
    missed = []
    for size in sizes:
        fleet = Fleet(stretched, cluster, seed=0, initial=size)
        fleet.advance(stretched.length_s + _DRAIN_S)
        kept = met(fleet.requests, objectives)
        counted = interval_of >= 0
        missed.append(np.bincount(interval_of[counted & ~kept], minlength=intervals))
        progress(1.0 - float(missed[-1].sum()) / len(demand))
        if missed[-1].sum() <= (1.0 - _ENOUGH) * len(demand):
            break
    progress(1.0)
    return Hindsight(
        sizes=np.array(sizes[: len(missed)]),
        missed=np.array(missed),
        requests=len(demand),
        interval_s=_INTERVAL_S,
    )


def least_static(
    hindsight: Hindsight, demand: Demand, cluster: ClusterSpec, *, objectives: Objectives, attainment: float
) -> int:
    """Return the smallest fleet that keeps the attainment without ever changing; the largest one when none does."""
    for size in range(hindsight.least_static(attainment), cluster.limits.max_replicas + 1):
        fleet = Fleet(demand, cluster, seed=0, initial=size)
        fleet.advance(demand.length_s + _DRAIN_S)
        if met(fleet.requests, objectives).mean() >= attainment:
            return size
    return cluster.limits.max_replicas


def find_oracle(
    hindsight: Hindsight,
    demand: Demand,
    cluster: ClusterSpec,
    *,
    seed: int,
    objectives: Objectives,
    attainment: float,
    progress: Progress = ignore_progress,
) -> OracleRun:
    """Search the price of a miss for the cheapest trajectory that keeps the attainment.

    When none does (the demand is more than the largest fleet can carry), the one that misses least.
    """
    low, high = np.log(_LEAST_PRICE_S), np.log(_MOST_PRICE_S)
    best: OracleRun | None = None
    for attempt in range(_PRICES):
        price = high if attempt == 0 else (low + high) / 2
        trajectory = _trajectory(hindsight, cluster, float(np.exp(price)))
        run = _simulate(trajectory, hindsight.interval_s, demand, cluster, seed=seed, objectives=objectives)
        enough = run.service.slo_attainment >= attainment
        if enough and attempt:
            high = price
        elif attempt:
            low = price
        if best is None or (enough and run.cost.gpu_hours < best.run.cost.gpu_hours):
            best = OracleRun(run=run, initial=int(trajectory[0]))
        progress((attempt + 1) / _PRICES)
    assert best is not None  # noqa: S101 - there is at least one attempt
    return best


def _stretches(demand: Demand, intervals: int) -> tuple[Demand, Ints]:
    """Pull the demand apart into stretches with a run-up and a rest; -1 for requests of a run-up, else the interval."""
    count = int(np.ceil(demand.length_s / _STRETCH_S))
    bounds = np.arange(count) * _STRETCH_S
    first = np.searchsorted(demand.arrival_s, np.maximum(bounds - _RUN_UP_S, 0.0))
    last = np.searchsorted(demand.arrival_s, bounds + _STRETCH_S)
    rows = np.concatenate([np.arange(begin, end) for begin, end in zip(first, last, strict=True)])
    stretch = np.repeat(np.arange(count), last - first)
    arrival = demand.arrival_s[rows]
    interval_of = np.minimum((arrival / _INTERVAL_S).astype(np.int64), intervals - 1)
    interval_of[arrival < bounds[stretch]] = -1
    apart = Demand(
        arrival_s=arrival + stretch * (_RUN_UP_S + _REST_S),
        prompt_tokens=demand.prompt_tokens[rows],
        output_tokens=demand.output_tokens[rows],
        length_s=demand.length_s + count * (_RUN_UP_S + _REST_S),
    )
    return apart, interval_of


def _trajectory(hindsight: Hindsight, cluster: ClusterSpec, price_s: float) -> Ints:
    """Cheapest replicas per interval when each miss costs ``price_s`` replica seconds."""
    start_s = cluster.replica.mean_startup_s + cluster.nodes.provision_s
    sizes = hindsight.sizes
    here = sizes[:, None] * hindsight.interval_s + price_s * hindsight.missed
    added = np.maximum(0, sizes[None, :] - sizes[:, None]) * start_s
    count = hindsight.missed.shape[1]
    came_from = np.zeros((count, len(sizes)), dtype=np.int64)
    total: Floats = here[:, 0].astype(np.float64)
    for interval in range(1, count):
        ways = total[:, None] + added
        came_from[interval] = ways.argmin(axis=0)
        total = ways.min(axis=0) + here[:, interval]
    chosen = np.zeros(count, dtype=np.int64)
    chosen[-1] = int(total.argmin())
    for interval in range(count - 1, 0, -1):
        chosen[interval - 1] = came_from[interval, chosen[interval]]
    return np.asarray(sizes[chosen], dtype=np.int64)


def _simulate(
    trajectory: Ints,
    interval_s: float,
    demand: Demand,
    cluster: ClusterSpec,
    *,
    seed: int,
    objectives: Objectives,
) -> Run:
    """Order every replica so early that it is ready when it is wanted."""
    fleet = Fleet(demand, cluster, seed=seed, initial=int(trajectory[0]))
    sampler = Sampler(demand.length_s)
    orders = _orders(trajectory, interval_s, cluster, seed)
    looks = [(interval * interval_s, _look) for interval in range(len(trajectory))]
    for at, act in sorted([*orders, *looks], key=lambda change: change[0]):
        fleet.advance(at)
        act(fleet)
        if act is _look:
            sampler.note(fleet.observe())
    return end_of_run(fleet, demand, name="oracle", seed=seed, objectives=objectives, sampler=sampler)


def _orders(
    trajectory: Ints, interval_s: float, cluster: ClusterSpec, seed: int
) -> list[tuple[float, Callable[[Fleet], None]]]:
    low, high = cluster.replica.startup_s
    rng = np.random.default_rng([seed, 0x0AC1E])
    changes: list[tuple[float, int, Callable[[Fleet], None]]] = []
    number = 0
    for interval, change in enumerate(np.diff(trajectory).tolist(), start=1):
        at = interval * interval_s
        for _ in range(abs(change)):
            number += 1
            if change < 0:
                heapq.heappush(changes, (at, number, Fleet.release))
                continue
            lead_s = float(rng.uniform(low, high)) + cluster.nodes.provision_s
            ordered_at = max(0.0, at - lead_s)
            heapq.heappush(changes, (ordered_at, number, _order(at - ordered_at)))
    return [(at, act) for at, _, act in sorted(changes, key=lambda change: change[:2])]


def _look(fleet: Fleet) -> None:
    """Change nothing."""


def _order(ready_after_s: float) -> Callable[[Fleet], None]:
    return lambda fleet: fleet.order(ready_after_s=ready_after_s)
