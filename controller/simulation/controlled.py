"""Runs the real control loop on a simulated fleet, in virtual time."""

from __future__ import annotations

import asyncio
import io
import math

import structlog

from controller.domain.layer import Layer
from controller.domain.reading import Known
from controller.domain.record import DeploymentRecord
from controller.domain.state import PlannerState
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.cluster import ClusterParts
from controller.loop.collection import Collection
from controller.loop.control import ControlLoop
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.journal import Journal
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.loop.unrecorded import NothingKept
from controller.policy.load import LoadedPolicy
from controller.policy.model import Mode
from controller.ports import Exporter
from controller.simulation.cluster import ClusterSpec
from controller.simulation.demand import Demand
from controller.simulation.driver import Expectation, Progress, Run, Sampler, end_of_run, ignore_progress
from controller.simulation.fleet import Fleet
from controller.simulation.housing import SimulatedCluster
from controller.simulation.outcome import Objectives
from controller.simulation.pages import Pages
from controller.simulation.past import Past
from controller.simulation.ports import CountedEvents, FixedPolicy, SimulatedActuator, SimulatedCollector
from controller.simulation.virtual_clock import START_OF_TIME, VirtualClock
from controller.window.history import DemandHistory

_WHOLE_S = 60.0
"""The origin is moved to a whole minute, so that the bins of histories meet it."""


def run_control_loop(
    loaded: LoadedPolicy,
    demand: Demand,
    cluster: ClusterSpec,
    *,
    name: str,
    seed: int,
    initial: int,
    objectives: Objectives,
    past: Past | None = None,
    origin: float | None = None,
    exporters: tuple[Exporter, ...] = (),
    progress: Progress = ignore_progress,
    housed: bool = False,
) -> Run:
    """Let the controller scale a fleet that begins with ``initial`` ready replicas, by its first deployment's policy.

    Everything but the ports is what runs in production: collection, window, forecast, planner and ledger. Limits are
    the policy's within the cluster's. ``past`` is what the controller had seen before; ``origin`` the Unix time of the
    demand's second 0, by default a time at which a past begins on a Monday at midnight. ``housed``: the controller
    plans nodes and workers too, as its policy's cluster says; otherwise replicas find their nodes by themselves.
    """
    run = _Controlled(
        _within(loaded, cluster),
        demand,
        cluster,
        seed=seed,
        initial=initial,
        past=past,
        origin=origin,
        exporters=exporters,
        housed=housed,
    )
    return asyncio.run(run.run(name=name, objectives=objectives, progress=progress))


class _Controlled:
    def __init__(
        self,
        loaded: LoadedPolicy,
        demand: Demand,
        cluster: ClusterSpec,
        *,
        seed: int,
        initial: int,
        past: Past | None,
        origin: float | None,
        exporters: tuple[Exporter, ...],
        housed: bool,
    ) -> None:
        self._demand = demand
        self._quantile = loaded.policy.deployments[0].forecast.target_quantile
        self._seed = seed
        deployment = loaded.policy.deployments[0].id
        begun = START_OF_TIME + (0.0 if past is None else past.length_s)
        self._clock = VirtualClock(begun if origin is None else math.floor(origin / _WHOLE_S) * _WHOLE_S)
        self._fleet = Fleet(demand, cluster, seed=seed, initial=initial)
        pages = Pages(deployment, origin=self._clock.origin)
        histories, foresight = DemandHistory(), Foresight(AdaptiveForecaster(), FitAtOnce())
        if past is not None:
            interval_s = loaded.policy.control.interval_s
            histories.restore(past.entries(deployment, self._clock.origin, histories, interval_s=interval_s))
            foresight.restore(past.entries(deployment, self._clock.origin, foresight.histories))
        actuator = SimulatedActuator(self._fleet, pages)
        events = CountedEvents()
        log = structlog.wrap_logger(
            structlog.PrintLogger(io.StringIO()), processors=[structlog.processors.JSONRenderer()]
        )
        self._loop = ControlLoop(
            clock=self._clock,
            policy=PolicyInForce(source=FixedPolicy(loaded), advisory=False, log=log, observer=events),
            collection=Collection(collectors={"fleet": SimulatedCollector(self._fleet, pages)}, clock=self._clock),
            perception=Perception(histories=histories),
            foresight=foresight,
            actuators=dict.fromkeys(Mode, actuator),
            journal=Journal(store=NothingKept(), log=log, observer=events),
            exporters=exporters,
            observer=events,
            log=log,
            state=PlannerState(),
            last_tick=0,
            cluster=self._parts(loaded, housed=housed),
        )

    def _parts(self, loaded: LoadedPolicy, *, housed: bool) -> ClusterParts:
        """The cluster as the policy describes it, where that is to be planned."""
        if loaded.policy.cluster is None or not housed:
            return ClusterParts()
        simulated = SimulatedCluster(self._fleet, loaded.policy.cluster, origin=self._clock.origin)
        return ClusterParts(observer=simulated, levers={Layer.NODE: (simulated,), Layer.WORKER: (simulated,)})

    async def run(self, *, name: str, objectives: Objectives, progress: Progress) -> Run:
        """Tick from the beginning of the demand to its end."""
        sampler = Sampler(self._demand.length_s)
        at = 0.0
        while at < self._demand.length_s:
            self._fleet.advance(at)
            self._clock.set(at)
            record = await self._loop.tick()
            sampler.note(self._fleet.observe(), _expectation(record.deployments[0], self._quantile))
            progress(at / self._demand.length_s)
            at += self._loop.interval_s
        progress(1.0)
        await self._loop.close()
        return end_of_run(self._fleet, self._demand, name=name, seed=self._seed, objectives=objectives, sampler=sampler)


def _expectation(record: DeploymentRecord, quantile: float) -> Expectation | None:
    """What was expected of the signal that was sized by; the last one listed where there are several."""
    if not record.decision.forecasts:
        return None
    forecast = record.decision.forecasts[-1]
    reading = record.snapshot.reading(forecast.signal)
    return Expectation(
        signal=forecast.signal.value,
        horizon_s=forecast.horizon_s,
        demand=reading.value if isinstance(reading, Known) else None,
        p10=forecast.quantile(0.1),
        p50=forecast.quantile(0.5),
        p90=forecast.quantile(0.9),
        wanted=forecast.quantile(quantile),
    )


def _within(loaded: LoadedPolicy, cluster: ClusterSpec) -> LoadedPolicy:
    """Return the first deployment's policy, with limits that the cluster can keep."""
    first = loaded.policy.deployments[0]
    most = min(first.limits.max_replicas, cluster.limits.max_replicas)
    least = min(max(first.limits.min_replicas, cluster.limits.min_replicas), most)
    limits = first.limits.model_copy(update={"min_replicas": least, "max_replicas": most})
    policy = loaded.policy.model_copy(update={"deployments": (first.model_copy(update={"limits": limits}),)})
    return LoadedPolicy(policy=policy, version=loaded.version, path=loaded.path)
