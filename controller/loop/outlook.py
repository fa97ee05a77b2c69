"""What the planner is asked about: each deployment's lead time, capacity and forecasts beside its snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from controller.domain.capacity import CapacityMemory
from controller.domain.forecast import Forecast, LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.domain.state import PlannerState
from controller.forecast.forecaster import Forecaster
from controller.planner.capacity import WORK_SIGNALS, capacity, full_load_of, work_history
from controller.planner.decide import PlanInput
from controller.planner.lead import lead_time
from controller.planner.size import sizing_signals
from controller.policy.model import DeploymentPolicy, Policy

_SHOWN_QUANTILES = (0.1, 0.5, 0.9)

HistoryOf = Callable[[DeploymentId, Signal], History]


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
    forecaster: Forecaster,
    now: float,
) -> tuple[PlanInput, ...]:
    """Everything ``decide`` needs, one entry for each deployment of the policy, in its order."""
    observed = {snapshot.id: snapshot for snapshot in snapshots}
    inputs = []
    for deployment in policy.deployments:
        lead = leads[deployment.id]
        snapshot, learned = observed[deployment.id], state.memory(deployment.id).capacity
        work = snapshot.reading(Signal.WORK)
        carried = capacity(deployment, learned, work=work.value if isinstance(work, Known) else None)
        forecasts, unavailable = _forecasts(
            deployment,
            sizing_signals(snapshot, carried),
            horizon_s=lead.p90_s + policy.control.interval_s,
            history_of=_with_work_history(deployment, learned, history_of),
            forecaster=forecaster,
            now=now,
        )
        inputs.append(
            PlanInput(
                snapshot=snapshot,
                policy=deployment,
                lead=lead,
                capacity=carried,
                forecasts=forecasts,
                forecast_unavailable=unavailable,
            )
        )
    return tuple(inputs)


def work_included(policy: Policy, state: PlannerState, history_of: HistoryOf) -> HistoryOf:
    """The same histories, and those of work, for all deployments of the policy."""
    by_deployment = {
        deployment.id: _with_work_history(deployment, state.memory(deployment.id).capacity, history_of)
        for deployment in policy.deployments
    }
    return lambda wanted, signal: by_deployment.get(wanted, history_of)(wanted, signal)


def _with_work_history(
    deployment: DeploymentPolicy, learned: CapacityMemory | None, history_of: HistoryOf
) -> HistoryOf:
    """Past work is made of what was measured then, by what is known of the engines now."""
    full = full_load_of(deployment, learned)

    def history(wanted: DeploymentId, signal: Signal) -> History:
        if signal is not Signal.WORK or isinstance(full, str):
            return history_of(wanted, signal)
        return work_history({measured: history_of(wanted, measured) for measured in WORK_SIGNALS}, full)

    return history


def _forecasts(
    deployment: DeploymentPolicy,
    signals: Sequence[Signal],
    *,
    horizon_s: float,
    history_of: HistoryOf,
    forecaster: Forecaster,
    now: float,
) -> tuple[tuple[Forecast, ...], str | None]:
    """Forecast the signals that replicas are sized by, and say why there is none when there is none."""
    if not deployment.forecast.enabled:
        return (), "switched off by the policy"
    quantiles = sorted({*_SHOWN_QUANTILES, deployment.forecast.target_quantile})
    answers = {
        signal: forecaster.forecast(
            history_of(deployment.id, signal),
            signal,
            now=now,
            horizon_s=horizon_s,
            quantiles=quantiles,
            deployment=deployment.id,
        )
        for signal in signals
    }
    forecasts = tuple(answer for answer in answers.values() if isinstance(answer, Forecast))
    if forecasts:
        return forecasts, None
    missing = [f"{signal}: {answer.reason}" for signal, answer in answers.items() if isinstance(answer, Unknown)]
    return (), "; ".join(missing)
