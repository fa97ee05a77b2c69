"""The control loop in virtual time around one simulated deployment, with what came of every tick."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.actuators.approval import ApprovalActuator
from controller.domain.lasting import Checkpoint, Piece
from controller.domain.plan import Action, OutcomeStatus
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.scrape import SourceKind
from controller.domain.state import PlannerState
from controller.export.log import json_log
from controller.forecast.adaptive import AdaptiveForecaster
from controller.interventions.approvals import ApprovalBoard
from controller.loop.collection import Collection
from controller.loop.control import ControlLoop
from controller.loop.forecast_guard import ForecastGuard
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.journal import Journal
from controller.loop.learned import restore
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.policy.load import LoadedPolicy, PolicyChange, PolicyFile
from controller.policy.model import (
    CapacityPrior,
    ControlPolicy,
    DeploymentPolicy,
    ForecastPolicy,
    LeadTimePolicy,
    Limits,
    Mode,
    Policy,
    Stabilisation,
)
from controller.ports import Actuator, Exporter, Lasting, LoopEvent, Store, StoreError
from controller.window.history import DemandHistory
from tests.clocks import VirtualClock
from tests.scenarios.simulated import CHAT, SimulatedActuator, SimulatedDeployment, SimulatedSource

INTERVAL_S = 5.0
START = 1_000_000.0


def policy(
    *, mode: Mode = Mode.DIRECT, max_replicas: int = 6, forecast: bool = True, downscale_delay_s: float = 60
) -> Policy:
    """Four requests per replica; nothing is lowered before a minute has passed."""
    return Policy(
        version=1,
        mode=mode,
        control=ControlPolicy(interval_s=INTERVAL_S, window_s=15, max_signal_age_s=15),
        deployments=(
            DeploymentPolicy(
                application=CHAT.application,
                deployment=CHAT.deployment,
                limits=Limits(min_replicas=1, max_replicas=max_replicas),
                capacity=CapacityPrior(target_ongoing_requests=4),
                forecast=ForecastPolicy(enabled=forecast),
                lead_time=LeadTimePolicy(assumed_s=20),
                stabilisation=Stabilisation(downscale_delay_s=downscale_delay_s),
            ),
        ),
    )


class FixedPolicy:
    """A policy that changes when a test says so."""

    def __init__(self, policy: Policy) -> None:
        self.current = LoadedPolicy(policy, "0" * 12, Path("policy.yaml"))
        self._news: PolicyChange | None = None

    def replace(self, policy: Policy) -> None:
        self.current = LoadedPolicy(policy, "1" * 12, Path("policy.yaml"))
        self._news = PolicyChange(loaded=self.current)

    def poll(self) -> PolicyChange | None:
        news, self._news = self._news, None
        return news


@dataclass
class MemoryStore:
    """Keeps records and state in memory; fails with ``problem`` while there is one."""

    problem: str | None = None
    asked: list[TickRecord] = field(default_factory=list)
    """What was to be begun, whether or not it could be kept."""
    begun: list[TickRecord] = field(default_factory=list)
    finished: list[TickRecord] = field(default_factory=list)
    state: PlannerState = field(default_factory=PlannerState)

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        self.asked.append(record)
        self._check()
        self.begun.append(record)
        self.state = state

    def finish(self, record: TickRecord, state: PlannerState, _lasting: Lasting) -> None:
        self._check()
        self.finished.append(record)
        self.state = state

    def keep(self, _pieces: Sequence[Piece]) -> None:
        self._check()

    def close(self) -> None:
        pass

    def _check(self) -> None:
        if self.problem:
            raise StoreError(self.problem)


@dataclass
class Events:
    """Counts the loop's events."""

    noted: list[LoopEvent] = field(default_factory=list)

    def note(self, event: LoopEvent) -> None:
        self.noted.append(event)


class World:
    """Builds the loop around a simulated deployment; ``run`` lets time pass, tick by tick."""

    def __init__(
        self,
        load: Callable[[float], float],
        *,
        policy_source: FixedPolicy | PolicyFile | None = None,
        advisory: bool = False,
        store: Store | None = None,
        kept: Checkpoint | None = None,
        last_tick: int = 0,
        deployment: SimulatedDeployment | None = None,
        actuator: Actuator | None = None,
        exporters: Sequence[Exporter] = (),
        act_within_s: float = 10.0,
        forecaster: AdaptiveForecaster | None = None,
        approvals: ApprovalBoard | None = None,
    ) -> None:
        clock = deployment.clock if deployment else VirtualClock(START)
        self.deployment = deployment or SimulatedDeployment(clock, lambda at: load(at - START))
        self.direct = SimulatedActuator(self.deployment)
        self.store = store or MemoryStore()
        self.events = Events()
        self.log = io.StringIO()
        self.records: list[TickRecord] = []
        log = json_log(self.log, clock)
        demand_history = DemandHistory()
        kept = kept or Checkpoint()
        demand_history.restore(kept.histories)
        foresight = Foresight(
            forecaster or AdaptiveForecaster(), FitAtOnce(), ForecastGuard(clock=clock, observer=self.events, log=log)
        )
        restore(kept.pieces, foresight)
        collectors = {
            str(kind): SimulatedSource(self.deployment, kind)
            for kind in (SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE)
        }
        source = policy_source or FixedPolicy(policy())
        self.loop = ControlLoop(
            clock=clock,
            policy=PolicyInForce(source=source, advisory=advisory, log=log, observer=self.events),
            collection=Collection(collectors=collectors, clock=clock),
            perception=Perception(histories=demand_history),
            foresight=foresight,
            actuators={
                Mode.DIRECT: actuator or self.direct,
                Mode.ADVISORY: SimulatedActuator(self.deployment, advisory=True),
                **({Mode.APPROVE: ApprovalActuator(inner=self.direct, board=approvals)} if approvals else {}),
            },
            journal=Journal(store=self.store, log=log, observer=self.events),
            exporters=[*exporters, *([approvals] if approvals else []), self],
            observer=self.events,
            log=log,
            state=kept.state,
            last_tick=last_tick,
            act_within_s=act_within_s,
        )

    def export(self, record: TickRecord) -> None:
        self.records.append(record)

    async def run(self, seconds: float) -> list[TickRecord]:
        """Tick for so long; returns the records of that time."""
        before = len(self.records)
        for _ in range(round(seconds / INTERVAL_S)):
            await self.loop.attempt()
            self.deployment.advance(INTERVAL_S)
        return self.records[before:]

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [line for line in lines if line["event"] == event]


def chat(record: TickRecord) -> DeploymentRecord:
    (deployment,) = record.deployments
    return deployment


def lowered(records: list[TickRecord]) -> list[DeploymentRecord]:
    return [chat(record) for record in records if chat(record).decision.action is Action.SCALE_DOWN]


def outcomes(records: list[TickRecord]) -> set[OutcomeStatus]:
    return {chat(record).outcome.status for record in records}


def targets(records: list[TickRecord]) -> list[int | None]:
    """Targets found, each once while it lasts."""
    found = [chat(record).snapshot.target_replicas for record in records]
    return [target for index, target in enumerate(found) if index == 0 or found[index - 1] != target]
