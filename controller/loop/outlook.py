"""What the planner is asked about: each deployment's lead time, capacity and forecasts beside its snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from controller.domain.capacity import CapacityMemory
from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.override import Override
from controller.domain.plan import Capacity
from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.domain.state import PlannerState
from controller.forecast.announced import Announced
from controller.loop.announcements import announcements
from controller.loop.foresight import Foresight, HistoryOf, nothing_announced
from controller.planner.capacity import WORK_SIGNALS, capacity, full_load_of, work_history
from controller.planner.decide import PlanInput
from controller.planner.lead import lead_time
from controller.planner.size import sizing_signals
from controller.planner.sustained import SUSTAINED_S, sustained
from controller.policy.model import DeploymentPolicy, Policy


def lead_times(policy: Policy, state: PlannerState, snapshots: Sequence[Snapshot]) -> dict[DeploymentId, LeadTime]:
    """Lead time of every deployment of the policy that was observed."""
    observed = {snapshot.id: snapshot for snapshot in snapshots}
    return {
        deployment.id: lead_time(deployment, state.memory(deployment.id), observed[deployment.id])
        for deployment in policy.deployments
    }


def plan_inputs(
    policy: Policy,
    snapshots: Sequence[Snapshot],
    leads: Mapping[DeploymentId, LeadTime],
    *,
    state: PlannerState,
    history_of: HistoryOf,
    foresight: Foresight,
    now: float,
    overrides: tuple[Override, ...] = (),
) -> tuple[PlanInput, ...]:
    """Everything ``decide`` needs, one entry for each deployment of the policy, in its order."""
    observed = {snapshot.id: snapshot for snapshot in snapshots}
    inputs = []
    for deployment in policy.deployments:
        lead = leads[deployment.id]
        snapshot, learned = observed[deployment.id], state.memory(deployment.id).capacity
        work = snapshot.reading(Signal.WORK)
        carried = capacity(deployment, learned, work=work.value if isinstance(work, Known) else None)
        histories = _with_work_history(deployment, learned, history_of)
        forecasts, unavailable = foresight.forecasts(
            deployment,
            sizing_signals(snapshot, carried),
            horizon_s=lead.p90_s + policy.control.interval_s,
            history_of=histories,
            now=now,
            announced_of=partial(_announced, deployment, carried) if deployment.events else nothing_announced,
        )
        inputs.append(
            PlanInput(
                snapshot=snapshot,
                policy=deployment,
                lead=lead,
                capacity=carried,
                forecasts=forecasts,
                forecast_unavailable=unavailable,
                interval_s=policy.control.interval_s,
                sustained=_sustained(deployment.id, carried, histories, now),
                overrides=overrides,
            )
        )
    return tuple(inputs)


def _announced(
    deployment: DeploymentPolicy, carried: Capacity, signal: Signal, /, *, since: float, until: float
) -> tuple[Announced, ...]:
    return announcements(deployment.events, signal, carried, since=since, until=until)


def work_included(policy: Policy, state: PlannerState, history_of: HistoryOf) -> HistoryOf:
    """The same histories, and those of work, for all deployments of the policy."""
    by_deployment = {
        deployment.id: _with_work_history(deployment, state.memory(deployment.id).capacity, history_of)
        for deployment in policy.deployments
    }

    def history(wanted: DeploymentId, signal: Signal, since: float | None = None, /) -> History:
        return by_deployment.get(wanted, history_of)(wanted, signal, since)

    return history


def _with_work_history(
    deployment: DeploymentPolicy, learned: CapacityMemory | None, history_of: HistoryOf
) -> HistoryOf:
    """Past work is made of what was measured then, by what is known of the engines now."""
    full = full_load_of(deployment, learned)

    def history(wanted: DeploymentId, signal: Signal, since: float | None = None, /) -> History:
        if signal is not Signal.WORK or isinstance(full, str):
            return history_of(wanted, signal, since)
        return work_history({measured: history_of(wanted, measured, since) for measured in WORK_SIGNALS}, full)

    return history


def _sustained(deployment: DeploymentId, carried: Capacity, history_of: HistoryOf, now: float) -> dict[Signal, float]:
    means = {signal: sustained(history_of(deployment, signal, now - SUSTAINED_S), now=now) for signal in carried.full}
    return {signal: mean for signal, mean in means.items() if mean is not None}
