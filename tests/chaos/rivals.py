"""Two controllers over one cluster: a lease that moves between them at any moment, and what one leaves the other."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Checkpoint
from controller.domain.layer import Layer
from controller.domain.plan import Decision, Outcome
from controller.domain.record import TickRecord
from controller.domain.scrape import Scrape, SourceKind
from controller.domain.serve import ServeState
from controller.domain.state import PlannerState
from controller.errors import UnavailableError
from controller.export.log import json_log
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.cluster import ClusterParts
from controller.loop.collection import Collection
from controller.loop.control import ControlLoop
from controller.loop.forecast_guard import ForecastGuard
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.journal import Journal
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.policy.model import Mode, Policy
from controller.window.history import DemandHistory
from tests.scenarios.ground import FleetActuator, FleetSource, SimulatedCluster, SimulatedLever
from tests.scenarios.world import Events, FixedPolicy, MemoryStore

SOURCES = (SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE)


@dataclass
class Lease:
    """Who leads. ``lost_after`` looks from now it passes on: in the midst of a tick, if need be."""

    holder: str | None = "a"
    term: int = 1
    lost_after: int | None = None
    heir: str | None = None

    def pass_to(self, holder: str | None) -> None:
        self.term += holder != self.holder
        self.holder, self.lost_after = holder, None

    def lose_after(self, looks: int, heir: str | None) -> None:
        self.lost_after, self.heir = looks, heir

    def looked_at(self) -> None:
        if self.lost_after is not None:
            self.lost_after -= 1
            if self.lost_after <= 0:
                self.pass_to(self.heir)


@dataclass
class Claim:
    """One controller's view of the lease."""

    lease: Lease
    me: str

    def may_act(self) -> bool:
        self.lease.looked_at()
        return self.lease.holder == self.me

    @property
    def term(self) -> int:
        return self.lease.term

    @property
    def standing(self) -> str:
        return f"{self.lease.holder} leads"


@dataclass(frozen=True)
class Left:
    state: PlannerState
    term: int
    words: Mapping[str, Sequence[bytes]]


@dataclass
class Shelf:
    """What the leader left; of an older term nothing is written over a newer one's."""

    lease: Lease
    left: Left | None = None
    broken: bool = False


@dataclass
class Succession:
    shelf: Shelf
    me: str

    async def publish(self, state: PlannerState, words: Mapping[str, Sequence[bytes]], *, tick: int) -> None:
        self._check()
        if self.shelf.lease.holder != self.me:
            message = f"tick {tick}: another one leads"
            raise UnavailableError(message)
        self.shelf.left = Left(state, self.shelf.lease.term, words)

    async def take(self) -> Left | None:
        self._check()
        return self.shelf.left

    def _check(self) -> None:
        if self.shelf.broken:
            message = "the API server does not answer"
            raise UnavailableError(message)


@dataclass
class Written:
    """A write that took effect, and who led then."""

    by: str
    leader: str | None
    at: float
    layer: Layer
    name: str
    before: int
    wanted: int
    deployment: DeploymentId | None = None
    held: int = 0
    """Replicas of all deployments before it."""
    told: bool = True
    """Whether it could be said beforehand where the next leader looks."""


@dataclass
class WatchedLever:
    """Sets a pool's nodes or a group's bounds, and notes who did; fails after its write where it ``breaks``."""

    lever: SimulatedLever
    by: str
    lease: Lease
    written: list[Written]

    async def apply(self, step: LayerStep, found: ClusterFound) -> LayerOutcome:
        cluster = self.lever.cluster
        before = (
            next(pool.wanted for pool in cluster.pools if pool.name == step.name)
            if step.layer is Layer.NODE
            else next(group.least for group in cluster.groups if group.name == step.name)
        )
        if not cluster.unreachable:
            leader = self.lease.holder
            now = cluster.clock.now()
            self.written.append(Written(self.by, leader, now, step.layer, step.name, before, step.wanted))
        return await self.lever.apply(step, found)

    async def close(self) -> None:
        pass


@dataclass
class WatchedServe:
    """Sets targets, and notes who did."""

    actuator: FleetActuator
    by: str
    lease: Lease
    shelf: Shelf
    written: list[Written]

    async def apply(self, decision: Decision) -> Outcome:
        assert decision.desired is not None
        cluster = self.actuator.cluster
        deployment = next(one for one in cluster.deployments if one.id == decision.id)
        self.written.append(
            Written(
                self.by,
                self.lease.holder,
                cluster.clock.now(),
                Layer.REPLICA,
                str(decision.id),
                len(deployment.replicas),
                decision.desired,
                decision.id,
                held=sum(len(one.replicas) for one in cluster.deployments),
                told=not self.shelf.broken,
            )
        )
        return await self.actuator.apply(decision)

    async def read_state(self) -> ServeState | None:
        return None

    async def close(self) -> None:
        pass


@dataclass
class Silenced:
    """A source that does not answer while it is in ``silent``."""

    source: FleetSource
    silent: set[SourceKind]

    async def collect(self, now: float) -> Sequence[Scrape]:
        if self.source.kind in self.silent:
            name = f"{self.source.kind}/10.0.0.3"
            return (Scrape(source=name, kind=self.source.kind, at=now, ok=False, errors=("connection refused",)),)
        return await self.source.collect(now)

    async def close(self) -> None:
        pass


@dataclass
class Rivals:
    """The cluster, its levers, and two controllers that may each be killed and started anew from their own store."""

    cluster: SimulatedCluster
    policy: Policy
    lease: Lease = field(default_factory=Lease)
    silent: set[SourceKind] = field(default_factory=set)
    written: list[Written] = field(default_factory=list)
    records: dict[str, list[TickRecord]] = field(default_factory=lambda: {"a": [], "b": []})
    stores: dict[str, MemoryStore] = field(default_factory=lambda: {"a": MemoryStore(), "b": MemoryStore()})
    loops: dict[str, ControlLoop] = field(default_factory=dict)
    events: Events = field(default_factory=Events)
    log: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.lease)
        self.levers = {layer: SimulatedLever(self.cluster, layer) for layer in (Layer.NODE, Layer.WORKER)}
        for name in self.records:
            self.start(name, Checkpoint())

    def restart(self, name: str) -> None:
        """The process is killed, and another one begins with what the store has."""
        records = self.stores[name].begun
        self.start(name, Checkpoint(state=self.stores[name].state), last_tick=records[-1].tick if records else 0)

    def start(self, name: str, kept: Checkpoint, *, last_tick: int = 0) -> None:
        clock, fleet = self.cluster.clock, self.cluster.deployments
        log = json_log(self.log, clock)
        serve = WatchedServe(FleetActuator(self.cluster), name, self.lease, self.shelf, self.written)
        collectors = {str(kind): Silenced(FleetSource(fleet, kind), self.silent) for kind in SOURCES}
        levers = {layer: (WatchedLever(lever, name, self.lease, self.written),) for layer, lever in self.levers.items()}
        self.loops[name] = ControlLoop(
            clock=clock,
            policy=PolicyInForce(source=FixedPolicy(self.policy), advisory=False, log=log, observer=self.events),
            collection=Collection(collectors=collectors, clock=clock),
            perception=Perception(histories=DemandHistory()),
            foresight=Foresight(
                AdaptiveForecaster(), FitAtOnce(), ForecastGuard(clock=clock, observer=self.events, log=log)
            ),
            actuators={Mode.DIRECT: serve},
            journal=Journal(store=self.stores[name], log=log, observer=self.events),
            exporters=[_Keeper(self.records[name].append)],
            observer=self.events,
            log=log,
            state=kept.state,
            last_tick=last_tick,
            cluster=ClusterParts(observer=self.cluster, levers=levers),
            leadership=Claim(self.lease, name),
            hand_over=Succession(self.shelf, name),
            act_within_s=5.0,
        )


@dataclass
class _Keeper:
    keep: Callable[[TickRecord], None]

    def export(self, record: TickRecord) -> None:
        self.keep(record)
