"""Runs one policy over one demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand
from controller.simulation.fleet import Fleet
from controller.simulation.observation import Observation
from controller.simulation.outcome import Cost, Objectives, Service, cost_of, service_of
from controller.simulation.policy import ScalingPolicy
from controller.simulation.timeline import Timeline, timeline_of

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""

_DRAIN_S = 7200.0
_SAMPLES = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the controller saw and expected of the signal that it sized by; quantiles are of the maximum to come.

    ``wanted`` is the quantile that the policy sizes for.
    """

    signal: str
    horizon_s: float
    demand: float | None
    p10: float
    p50: float
    p90: float
    wanted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One moment of a run. ``arrived`` counts from the start; ``expected`` is the controller's, where it forecasts."""

    at: float
    target: int
    ready: int
    starting: int
    stopping: int
    in_flight: int
    waiting: int
    arrived: int
    expected: Expectation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One policy's run over the whole demand."""

    name: str
    seed: int
    cost: Cost
    service: Service
    scale_ups: int
    scale_downs: int
    samples: tuple[Sample, ...]
    timeline: Timeline


def ignore_progress(share: float) -> None:
    """Show nothing."""


def run_policy(
    policy: ScalingPolicy,
    demand: Demand,
    cluster: ClusterSpec,
    *,
    seed: int,
    initial: int,
    objectives: Objectives,
    progress: Progress = ignore_progress,
) -> Run:
    """Let ``policy`` scale a fleet that begins with ``initial`` ready replicas.

    Costs count until the demand ends; requests still in flight then are followed to their end.
    """
    fleet = Fleet(demand, cluster, seed=seed, initial=initial)
    sampler = Sampler(demand.length_s)
    at = 0.0
    while at < demand.length_s:
        fleet.advance(at)
        seen = fleet.observe(detail=policy.detail)
        sampler.note(seen)
        fleet.set_target(policy.target(seen, at))
        progress(at / demand.length_s)
        at += policy.interval_s
    progress(1.0)
    return end_of_run(fleet, demand, name=policy.name, seed=seed, objectives=objectives, sampler=sampler)


class Sampler:
    """Keeps moments at a distance, for charts."""

    def __init__(self, length_s: float) -> None:
        self._every_s = length_s / _SAMPLES
        self._next_at = 0.0
        self.samples: list[Sample] = []

    def note(self, seen: Observation, expected: Expectation | None = None) -> None:
        """Keep the moment when the last one is long enough ago."""
        if seen.at < self._next_at:
            return
        self._next_at = seen.at + self._every_s
        self.samples.append(
            Sample(
                at=seen.at,
                target=seen.target,
                ready=seen.ready,
                starting=seen.starting,
                stopping=seen.stopping,
                in_flight=seen.in_flight,
                waiting=seen.waiting + seen.at_the_door,
                arrived=seen.arrived,
                expected=expected,
            )
        )


def end_of_run(fleet: Fleet, demand: Demand, *, name: str, seed: int, objectives: Objectives, sampler: Sampler) -> Run:
    """Close the books at the end of the demand, then see the last requests out."""
    fleet.advance(demand.length_s)
    fleet.finish()
    cost, ups, downs = cost_of(fleet), fleet.scale_ups, fleet.scale_downs
    fleet.advance(demand.length_s + _DRAIN_S)
    return Run(
        name=name,
        seed=seed,
        cost=cost,
        service=service_of(fleet.requests, objectives),
        scale_ups=ups,
        scale_downs=downs,
        samples=tuple(sampler.samples),
        timeline=timeline_of(fleet, demand.length_s, objectives),
    )
