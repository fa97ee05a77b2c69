"""Builders of planner inputs, and a simulated deployment to plan for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from controller.domain.forecast import Forecast, LeadSource, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History, ReplicaCounts, Snapshot
from controller.domain.state import DeploymentMemory, PlannerState
from controller.forecast.adaptive import AdaptiveForecaster
from controller.planner.capacity import capacity
from controller.planner.decide import Plan, PlanInput, decide, note_outcomes
from controller.planner.lead import lead_time
from controller.policy.model import Budget, DeploymentPolicy
from tests.records import CHAT, snapshot

NOW = 10_000.0
ZERO = {"after_idle_s": 0.001, "cold_start_promise_s": 86_400}
LEAD = LeadTime(p50_s=30, p90_s=40, p95_s=45, source=LeadSource.MEASURED, samples=5)


def policy(
    deployment: DeploymentId = CHAT,
    *,
    limits: dict[str, int] | None = None,
    per_replica: dict[str, float] | None = None,
    **sections: Any,
) -> DeploymentPolicy:
    """1 to 10 replicas of 8 requests each; no delays unless asked for."""
    return DeploymentPolicy.model_validate(
        {
            "application": deployment.application,
            "deployment": deployment.deployment,
            "limits": {"min_replicas": 1, "max_replicas": 10, "max_step_down": 10, **(limits or {})},
            "capacity": {"target_ongoing_requests": 8, **(per_replica or {})},
            "stabilisation": {"upscale_delay_s": 0, "downscale_delay_s": 0},
            **({"scale_to_zero": ZERO} if limits and limits.get("min_replicas") == 0 else {}),
            **sections,
        }
    )


def forecast(value: float, *, signal: Signal = Signal.ONGOING_REQUESTS, at: float = NOW) -> Forecast:
    """A forecast whose quantiles are all ``value``."""
    return Forecast(
        signal=signal, at=at, horizon_s=40, quantiles=((0.5, value), (0.99, value)), method="test", history_s=600
    )


def seen(
    demand: float | Reading | Mapping[Signal, Reading],
    *,
    target: int | None = 2,
    ready: int | None = None,
    starting: int = 0,
    stopping: int = 0,
    deployment: DeploymentId = CHAT,
    **changes: Any,
) -> Snapshot:
    """A settled deployment with ``demand`` (a number: ongoing requests); a zero is idle."""
    readings = demand if isinstance(demand, Mapping) else {Signal.ONGOING_REQUESTS: _reading(demand)}
    serving = target if ready is None else ready
    fields: dict[str, Any] = {
        "at": NOW,
        "target_replicas": target,
        "replicas": None if serving is None else ReplicaCounts(ready=serving, starting=starting, stopping=stopping),
        "demand": readings,
        "idle": all(reading == Known(0.0) for reading in readings.values()),
        "at_the_door": readings.get(Signal.ONGOING_REQUESTS, Unknown("not observed")),
        "sources": (),
    }
    return snapshot(deployment, **{**fields, **changes})


def _reading(demand: float | Reading) -> Reading:
    return demand if isinstance(demand, Known | Unknown) else Known(float(demand))


def given(observed: Snapshot, rules: DeploymentPolicy | None = None, forecasts: Sequence[Forecast] = ()) -> PlanInput:
    rules = rules or policy(observed.id)
    return PlanInput(
        snapshot=observed,
        policy=rules,
        lead=LEAD,
        capacity=capacity(rules),
        forecasts=tuple(forecasts),
        forecast_unavailable=None if forecasts else "switched off by the policy",
        gpu_price=rules.gpu_price_per_hour,
    )


def state(memory: DeploymentMemory, deployment: DeploymentId = CHAT) -> PlannerState:
    return PlannerState(deployments=((deployment, memory),))


def decided(
    one: PlanInput, before: PlannerState | None = None, *, now: float = NOW, budget: Budget | None = None
) -> tuple[Decision, DeploymentMemory]:
    plan, after = decide([one], before or PlannerState(), now=now, budget=budget)
    return plan.decisions[0], after.memory(one.snapshot.id)


def applied(
    plan: Plan,
    before: PlannerState,
    snapshots: Sequence[Snapshot],
    *,
    now: float = NOW,
    status: OutcomeStatus = OutcomeStatus.APPLIED,
) -> PlannerState:
    """Note the same outcome for every decision that asks for something."""
    outcomes = [
        Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO if decision.action is Action.NONE else status)
        for decision in plan.decisions
    ]
    return note_outcomes(before, plan, outcomes, snapshots, now=now)


@dataclass
class SimulatedDeployment:
    """One deployment under ``demand(seconds)``, planned every ``tick_s``; replicas need ``start_s`` to start."""

    demand: Callable[[float], float]
    rules: DeploymentPolicy = field(default_factory=policy)
    start_s: float = 35.0
    tick_s: float = 5.0
    target: int = 1
    foreign: dict[float, int] = field(default_factory=dict)
    """Targets that somebody else sets, by second."""

    now: float = 0.0
    memory: PlannerState = field(default_factory=PlannerState)
    decisions: list[Decision] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    _past: list[float | None] = field(default_factory=list)
    _forecaster: AdaptiveForecaster = field(default_factory=AdaptiveForecaster)
    _born: list[float] = field(default_factory=list)

    def run(self, seconds: float, *, blind: Callable[[float], bool] = lambda _at: False) -> SimulatedDeployment:
        """Tick for ``seconds``; while ``blind(at)`` demand is unknown."""
        end = self.now + seconds
        while self.now < end:
            self._tick(known=not blind(self.now))
            self.now += self.tick_s
        return self

    @property
    def targets(self) -> list[int]:
        """The target after each tick."""
        return [decision.desired for decision in self.decisions if decision.desired is not None]

    @property
    def changes(self) -> list[tuple[float, int]]:
        """(second, new target) of every change made."""
        return [
            (index * self.tick_s, decision.desired)
            for index, decision in enumerate(self.decisions)
            if decision.action is not Action.NONE and decision.desired is not None
        ]

    def _tick(self, *, known: bool) -> None:
        self.target = self.foreign.get(self.now, self.target)
        self._born = (self._born or [self.now - self.start_s] * self.target)[: self.target]
        self._born += [self.now] * (self.target - len(self._born))
        serving = sum(self.now - born >= self.start_s for born in self._born)
        value = self.demand(self.now)
        self._past.append(value if known else None)
        observed = seen(
            Known(value) if known else Unknown("no fresh sample"),
            target=self.target,
            ready=serving,
            starting=self.target - serving,
            at=self.now,
            idle=known and value == 0,
        )
        observed = replace(observed, startup_p90_s=Known(self.start_s))
        plan, planned = decide([self._input(observed)], self.memory, now=self.now)
        self.memory = applied(plan, planned, [observed], now=self.now)
        decision = plan.decisions[0]
        self.target = self.target if decision.desired is None else decision.desired
        self.plans.append(plan)
        self.decisions.append(decision)
        self.ready.append(serving)

    def _input(self, observed: Snapshot) -> PlanInput:
        lead = lead_time(self.rules, self.memory.memory(observed.id), observed)
        answer: Forecast | Unknown = Unknown("switched off by the policy")
        if self.rules.forecast.enabled:
            past = History(start=self.now - self.tick_s * len(self._past), step_s=self.tick_s, values=tuple(self._past))
            answer = self._forecaster.forecast(
                past,
                Signal.ONGOING_REQUESTS,
                now=self.now,
                horizon_s=lead.p90_s + self.tick_s,
                quantiles=(0.5, 0.9, self.rules.forecast.target_quantile),
                deployment=observed.id,
            )
        return PlanInput(
            snapshot=observed,
            policy=self.rules,
            lead=lead,
            capacity=capacity(self.rules),
            forecasts=(answer,) if isinstance(answer, Forecast) else (),
            forecast_unavailable=answer.reason if isinstance(answer, Unknown) else None,
        )
