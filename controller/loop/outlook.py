"""What the planner is asked about: each deployment's lead time, capacity and forecasts beside its snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from controller.domain.capacity import CapacityMemory
from controller.domain.forecast import LeadTime
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.override import Override
from controller.domain.plan import Capacity
from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.domain.state import PlannerState
from controller.forecast.announced import Announced
from controller.loop.announcements import announcements
from controller.loop.foresight import Foresight, HistoryOf, nothing_announced
from controller.loop.ground import Ground
from controller.planner.capacity import WORK_SIGNALS, capacity, full_load_of, work_history
from controller.planner.decide import PlanInput
from controller.planner.lead import lead_time
from controller.planner.needs import LASTING_S, Ahead
from controller.planner.size import sizing_signals
from controller.planner.supply.waiting import Chain
from controller.planner.sustained import recent, recent_s, sustained, sustained_s
from controller.policy.model import DeploymentPolicy, Policy


def lead_times(
    policy: Policy, state: PlannerState, snapshots: Sequence[Snapshot], ground: Ground | None = None
) -> dict[DeploymentId, LeadTime]:
    """Lead time of every deployment that was observed, with the layers that its next replica waits for."""
    observed = {snapshot.id: snapshot for snapshot in snapshots}
    chains = {} if ground is None else ground.chains
    measured = {} if ground is None else ground.replica_leads
    return {
        deployment.id: lead_time(
            deployment,
            state.memory(deployment.id),
            observed[deployment.id],
            below=chains[deployment.id].below if deployment.id in chains else None,
            on_worker=measured.get(str(deployment.id)),
        )
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
    ground: Ground | None = None,
) -> tuple[PlanInput, ...]:
    """Everything ``decide`` needs, one entry for each deployment of the policy, in its order.

    Where workers and nodes are planned for, too, replicas look only as far ahead as a replica itself takes.
    """
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
            horizon_s=_own_s(lead, planned_below=ground is not None and deployment.id in ground.chains)
            + policy.control.interval_s,
            history_of=histories,
            now=now,
            announced_of=partial(_announced, deployment, carried) if deployment.events else nothing_announced,
        )
        lately, brief = _lately(snapshot, carried, histories, interval_s=policy.control.interval_s)
        over_s = max(sustained_s(lead), recent_s(policy.control.interval_s))
        lasting = _sustained(
            deployment.id, carried, histories, over_s=over_s, interval_s=policy.control.interval_s, now=now
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
                gpu_price=policy.gpu_price(deployment),
                sustained={**lasting, **lately},
                brief=brief,
                overrides=overrides,
            )
        )
    return tuple(inputs)


def _announced(
    deployment: DeploymentPolicy, carried: Capacity, signal: Signal, /, *, since: float, until: float
) -> tuple[Announced, ...]:
    return announcements(deployment.events, signal, carried, since=since, until=until)


def ahead_of(
    given: PlanInput,
    below: Chain,
    *,
    state: PlannerState,
    history_of: HistoryOf,
    foresight: Foresight,
    interval_s: float,
    now: float,
) -> tuple[Ahead, ...]:
    """What is foreseen of one deployment at each layer's horizon: its own lead, with a worker's, with a node's."""
    own_s = _own_s(given.lead, planned_below=True)
    learned = state.memory(given.snapshot.id).capacity
    announced = partial(_announced, given.policy, given.capacity) if given.policy.events else nothing_announced
    found = [
        Ahead(
            layer=Layer.REPLICA,
            due_s=own_s,
            forecasts=given.forecasts,
            forecast_unavailable=given.forecast_unavailable,
        )
    ]
    for layer, due_s in (
        (Layer.WORKER, own_s + below.worker.p90_s),
        (Layer.NODE, own_s + below.worker.p90_s + below.node.p90_s),
    ):
        forecasts, unavailable = foresight.forecasts(
            given.policy,
            sizing_signals(given.snapshot, given.capacity),
            horizon_s=due_s + LASTING_S + interval_s,
            history_of=_with_work_history(given.policy, learned, history_of),
            now=now,
            announced_of=announced,
        )
        found.append(Ahead(layer=layer, due_s=due_s, forecasts=forecasts, forecast_unavailable=unavailable))
    return tuple(found)


def _own_s(lead: LeadTime, *, planned_below: bool) -> float:
    """How far ahead replicas are to be asked for: their own part of the lead, where the rest is planned for apart."""
    own = next((one for one in lead.layers if one.layer is Layer.REPLICA), None)
    return own.p90_s if planned_below and own is not None else lead.p90_s


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


def _sustained(
    deployment: DeploymentId,
    carried: Capacity,
    history_of: HistoryOf,
    *,
    over_s: float,
    interval_s: float,
    now: float,
) -> dict[Signal, float]:
    means = {
        signal: sustained(history_of(deployment, signal, now - over_s), over_s=over_s, interval_s=interval_s, now=now)
        for signal in carried.full
    }
    return {signal: mean for signal, mean in means.items() if mean is not None}


def _lately(
    snapshot: Snapshot, carried: Capacity, history_of: HistoryOf, *, interval_s: float
) -> tuple[dict[Signal, float], bool]:
    """Mean of requests in flight, where a deployment is sized by them, and whether it rests on too short a time."""
    signal, reading = Signal.ONGOING_REQUESTS, snapshot.reading(Signal.ONGOING_REQUESTS)
    if signal not in sizing_signals(snapshot, carried) or not isinstance(reading, Known) or snapshot.idle:
        return {}, False
    history = history_of(snapshot.id, signal, snapshot.at - 2.0 * recent_s(interval_s))
    found = recent(history, reading.value, interval_s=interval_s, now=snapshot.at)
    return {signal: found.mean}, found.brief
