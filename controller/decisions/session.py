"""One run of the filter: each line through the same thinking as a tick of the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.decisions import cluster as clusters
from controller.decisions.cluster_message import ClusterAnswer, ClusterTold
from controller.decisions.message import (
    DeploymentTold,
    FoundConflict,
    PlanLine,
    Planned,
    PlannedOrder,
    SnapshotLine,
)
from controller.decisions.seen import engine_work_of, snapshot_of
from controller.domain.cluster import LayerStep
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Conflict, Decision, Order, Outcome, OutcomeStatus
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.domain.state import PlannerState
from controller.domain.supply import SupplyOrder
from controller.errors import BadInputError
from controller.forecast.adaptive import AdaptiveForecaster
from controller.loop.cluster import PlannedCluster, on_ground
from controller.loop.foresight import FitAtOnce, Foresight
from controller.loop.ground import Ground, grounded
from controller.loop.step_timer import StepTimer
from controller.loop.thinking import Thought, think
from controller.planner.decide import Plan, note_outcomes
from controller.planner.placement import Effort, plan_cluster
from controller.planner.supply.orders import placed_orders
from controller.policy.load import LoadedPolicy
from controller.policy.model import Mode
from controller.window.history import DemandHistory

_NEWEST_BINS = 1440
_EFFORT = Effort(seconds=60.0)
"""The nodes of the search end it, long before its time would: the same line gives the same plan."""
_NOT_SET = "the target that was planned is not the one that was found"


class LineError(Exception):
    """A line that is well formed but makes no sense here; ``key`` says where."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The last plan, whose outcomes the next line tells."""

    at: float
    plan: Plan
    snapshots: tuple[Snapshot, ...]
    steps: tuple[LayerStep, ...] = ()
    """What was to be set of nodes and workers, and ``orders`` what that orders."""
    orders: tuple[SupplyOrder, ...] = ()


@dataclass(slots=True)
class Session:
    """What is remembered from line to line. The same lines after the same memory give the same answers."""

    loaded: LoadedPolicy
    state: PlannerState = field(default_factory=PlannerState)
    pending: Pending | None = None
    histories: DemandHistory = field(default_factory=DemandHistory)
    foresight: Foresight = field(default_factory=lambda: Foresight(AdaptiveForecaster(), FitAtOnce()))

    def answer(self, line: SnapshotLine, number: int) -> PlanLine:
        """Plan from one line.

        Raises:
            LineError: the line is not later than the last one, or names a deployment that the policy does not have.
                Nothing is remembered of it.

        """
        told = self._told(line)
        policy = self.loaded.policy
        snapshots = tuple(
            snapshot_of(one.id, told.get(one.id), at=line.at, max_age_s=policy.control.max_signal_age_s)
            for one in policy.deployments
        )
        self.state = _with_outcomes(self.state, self.pending, told, line.cluster)
        for snapshot in snapshots:
            self.histories.record(snapshot)
        self.foresight.record(snapshots)
        ground = self._ground(line, told, snapshots)
        before = self.state
        thought = think(
            policy,
            snapshots,
            self.state,
            engine_work_of=lambda deployment, _now: engine_work_of(told.get(deployment.id)),
            history_of=self._history,
            foresight=self.foresight,
            now=line.at,
            timer=StepTimer(_StandingClock(line.at)),
            ground=ground,
        )
        plan, self.state = thought.plan, thought.state
        cluster: PlannedCluster | None = None
        if ground is not None:
            cluster, plan, self.state = _placed(ground, thought, before, now=line.at)
        self.pending = Pending(
            at=line.at,
            plan=plan,
            snapshots=thought.snapshots,
            steps=() if cluster is None else cluster.acts.steps,
            orders=() if cluster is None else _layer_orders(cluster, self.state, now=line.at),
        )
        shown = None if cluster is None else clusters.answered(cluster)
        return _answer(plan, number=number, at=line.at, version=self.loaded.version, cluster=shown)

    def _ground(
        self, line: SnapshotLine, told: Mapping[DeploymentId, DeploymentTold], snapshots: Sequence[Snapshot]
    ) -> Ground | None:
        """Take the cluster's news in; None where no cluster was told."""
        if line.cluster is None:
            return None
        policy = self.loaded.policy
        ground, supply = grounded(
            policy,
            clusters.found_of(line.cluster, at=line.at),
            clusters.serve_of(policy, line.cluster, told),
            snapshots,
            self.state.supply,
            now=line.at,
        )
        self.state = replace(self.state, supply=supply)
        return ground

    def _history(self, wanted: DeploymentId, signal: Signal, since: float | None = None, /) -> History:
        return self.histories.history(wanted, signal, since, last_bins=_NEWEST_BINS)

    def _told(self, line: SnapshotLine) -> dict[DeploymentId, DeploymentTold]:
        if self.pending is not None and line.at <= self.pending.at:
            msg = f"{line.at:.15g} is not later than {self.pending.at:.15g}, the last line's"
            raise LineError(msg, key="at")
        planned = {str(one.id) for one in self.loaded.policy.deployments}
        for place, one in enumerate(line.deployments):
            if one.deployment not in planned:
                msg = f"{one.deployment} is not in the policy, which has {', '.join(sorted(planned))}"
                raise LineError(msg, key=f"deployments.{place}.deployment")
        if line.cluster is not None and (wrong := clusters.strange(line.cluster, self.loaded.policy.cluster)):
            key, msg = wrong
            raise LineError(msg, key=key)
        return {DeploymentId.parse(one.deployment): one for one in line.deployments}


@dataclass(frozen=True, slots=True)
class _StandingClock:
    """Time does not pass while a line is answered."""

    at: float

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Return at once."""


def check_policy(loaded: LoadedPolicy) -> LoadedPolicy:
    """Return the policy. Raises BadInputError when a deployment's name cannot be told apart on a line."""
    for one in loaded.policy.deployments:
        if DeploymentId.parse(str(one.id)) != one.id:
            msg = f"{loaded.path}: {one.id}: an application with a slash in its name cannot be named on a line"
            raise BadInputError(msg)
    return loaded


def _placed(
    ground: Ground, thought: Thought, before: PlannerState, *, now: float
) -> tuple[PlannedCluster, Plan, PlannerState]:
    given = replace(ground.given, demands=thought.asked.demands)
    plan = plan_cluster(given, now=now, effort=_EFFORT)
    return on_ground(ground, given, plan, thought=thought, before=before, levers={}, mode=Mode.DIRECT, solve_s=0.0)


def _layer_orders(cluster: PlannedCluster, state: PlannerState, *, now: float) -> tuple[SupplyOrder, ...]:
    """What the plan orders where all of its steps are set."""
    keys = {(step.layer, step.name) for step in cluster.acts.steps}
    groups = cluster.ground.found.groups or ()
    return placed_orders(cluster.plan, cluster.given, state.supply, groups, keys, now=now)


def _with_outcomes(
    state: PlannerState,
    pending: Pending | None,
    told: Mapping[DeploymentId, DeploymentTold],
    cluster: ClusterTold | None,
) -> PlannerState:
    if pending is None:
        return state
    outcomes = [_outcome(decision, told.get(decision.id)) for decision in pending.plan.decisions]
    state = note_outcomes(state, pending.plan, outcomes, pending.snapshots, now=pending.at)
    return replace(state, supply=clusters.noted(state.supply, pending.orders, pending.steps, cluster))


def _outcome(decision: Decision, told: DeploymentTold | None) -> Outcome:
    """What came of a decision: as told, else as its target shows."""
    if decision.action is Action.NONE:
        return Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO)
    if told is not None and told.applied is not None:
        return Outcome(id=decision.id, status=told.applied.outcome, detail=told.applied.detail, attempts=1)
    if told is not None and told.target == decision.desired:
        return Outcome(id=decision.id, status=OutcomeStatus.APPLIED, attempts=1)
    return Outcome(id=decision.id, status=OutcomeStatus.FAILED, detail=_NOT_SET, attempts=1)


def _answer(plan: Plan, *, number: int, at: float, version: str, cluster: ClusterAnswer | None) -> PlanLine:
    return PlanLine(
        line=number,
        at=at,
        policy_version=version,
        plan=tuple(_planned(decision) for decision in plan.decisions),
        ledger=_orders(plan.ledger),
        conflicts=_conflicts(plan.conflicts),
        cluster=cluster,
    )


def _planned(decision: Decision) -> Planned:
    return Planned(
        deployment=str(decision.id),
        current=decision.current,
        desired=decision.desired,
        action=decision.action,
        reason=decision.binding,
        steps=decision.steps,
        lead=decision.lead,
        capacity=decision.capacity,
        forecasts=decision.forecasts,
        forecast_unavailable=decision.forecast_unavailable,
    )


def _orders(orders: Sequence[Order]) -> tuple[PlannedOrder, ...]:
    return tuple(
        PlannedOrder(
            deployment=str(order.id),
            ordered_at=order.ordered_at,
            from_replicas=order.from_replicas,
            to_replicas=order.to_replicas,
            deadline=order.deadline,
            status=order.status,
            closed_at=order.closed_at,
        )
        for order in orders
    )


def _conflicts(conflicts: Sequence[Conflict]) -> tuple[FoundConflict, ...]:
    return tuple(
        FoundConflict(deployment=str(one.id), expected=one.expected, found=one.found, cause=one.cause)
        for one in conflicts
    )
