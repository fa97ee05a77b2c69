"""Alerts about what the controller sees, decides and does."""

from __future__ import annotations

from collections.abc import Iterator

from alerts.rule import Alert, Group, Severity, Team
from controller.catalog import exported
from controller.catalog.promql import differs, equals, matches, selector
from controller.policy.model import ControlPolicy, Policy

FLAPS = 4
"""So many changes up and as many down within an hour are no answer to demand."""

BEHIND_S = 600.0
"""A sink whose oldest event waits for longer is not well."""

_HERE = "{{ $labels.application }}/{{ $labels.deployment }}"
_LEAST_STALL_S = 60.0


def scaling_group(policy: Policy, *, every_s: int) -> Group:
    """Return the alerts about scaling. How late a tick may be, and who has a forecast, follow the policy."""
    return Group(
        name="foreserve-scaling",
        interval_s=every_s,
        rules=(
            *_controller(policy.control),
            *_eyes(),
            *_forecast(policy),
            *_late_capacity(),
            *_nodes(),
            _at_limit(),
            _budget_binding(),
            _second_writer(),
            _flapping(),
            _actuation_failing(),
            _webhook_delivery_failing(),
        ),
    )


def _controller(control: ControlPolicy) -> Iterator[Alert]:
    allowed_s = max(3 * control.interval_s, _LEAST_STALL_S)
    yield Alert(
        name="ControllerDown",
        expr=f"absent({selector(exported.BUILD_INFO)})",
        hold="5m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary="No Foreserve controller has been seen by Prometheus for five minutes.",
        impact="Replica targets stay where they are: the next burst is served late, idle GPUs stay paid for.",
    )
    yield Alert(
        name="NoLeader",
        expr=f"max by (cluster) ({selector(exported.LEADS)}) == 0",
        hold="2m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary="Controllers run, and for two minutes none of them has been the one that acts.",
        impact="Targets of replicas, workers and nodes stay where they are: the next burst is served late.",
    )
    yield Alert(
        name="ControllerStalled",
        expr=f"time() - max by (cluster) ({selector(exported.LAST_TICK)}) > {allowed_s:g}",
        hold="1m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary="The controller runs, and its last complete tick is {{ $value | humanizeDuration }} old.",
        impact="Replica targets stay where they are: the next burst is served late, idle GPUs stay paid for.",
    )
    yield Alert(
        name="ControllerTicksFailing",
        expr=f"increase({selector(exported.TICK_FAILURES)}[15m]) > 2",
        hold="0m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="{{ $value | humanize }} ticks of the controller failed within 15 minutes.",
        impact="Each failed tick decides nothing; the next one starts afresh.",
    )
    yield Alert(
        name="StoreFailing",
        expr=f"increase({selector(exported.STORE_ERRORS)}[15m]) > 0",
        hold="5m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="The controller cannot write its decision records or its state.",
        impact="Nothing is lowered meanwhile, so GPUs stay paid for; what is learned is lost at a restart.",
    )
    yield _policy_rejected()


def _policy_rejected() -> Alert:
    """Compare when a policy was last refused and last taken over: only the later one still holds."""

    def last(result: str) -> str:
        counter = selector(exported.POLICY_RELOADS, equals("result", result))
        return f"max_over_time(timestamp(increase({counter}[5m]) > 0)[6h:1m])"

    rejected = last("rejected")
    return Alert(
        name="PolicyRejected",
        expr=f"{rejected} unless ignoring (result) ({last('reloaded')} > ignoring (result) {rejected})",
        hold="0m",
        severity=Severity.TICKET,
        team=Team.SERVICE,
        summary="The policy file was changed, is wrong, and was not taken over.",
        impact="The policy before the change is still in force.",
    )


def _eyes() -> Iterator[Alert]:
    known = selector(exported.SIGNAL_KNOWN, differs("signal", "work"))
    yield Alert(
        name="SourceStale",
        expr=f"{selector(exported.SOURCE_UP)} == 0",
        hold="5m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="The controller has had no fresh answer from {{ $labels.source }} for five minutes.",
        impact="Deployments that it shows may rise and are not lowered; GPUs stay paid for.",
    )
    yield Alert(
        name="FlyingBlind",
        expr=f"max by (cluster, application, deployment) ({known}) == 0",
        hold="3m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary=f"The controller has known no demand of {_HERE} for three minutes.",
        impact="Its target is held: a burst that comes now is not answered.",
    )


def _forecast(policy: Policy) -> Iterator[Alert]:
    yield Alert(
        name="ForecastCoverageBroken",
        expr=f"{selector(exported.FORECAST_TRUSTED)} == 0",
        hold="10m",
        severity=Severity.TICKET,
        team=Team.SERVICE,
        summary=f"The forecast of {{{{ $labels.signal }}}} of {_HERE} falls short of its promise and is not used.",
        impact="Replicas follow demand now: bursts are served one lead time late until the forecast is trusted again.",
    )
    yield Alert(
        name="ForecastMissing",
        expr=f"{selector(exported.FORECAST_AVAILABLE)} == 0{''.join(_without_forecast(policy))}",
        hold="1h",
        severity=Severity.TICKET,
        team=Team.SERVICE,
        summary=f"The policy of {_HERE} asks for a forecast, and there has been none for an hour.",
        impact="Replicas follow demand now: bursts are served one lead time late.",
    )
    yield Alert(
        name="ForecastFailing",
        expr=f"increase({selector(exported.FORECAST_PROBLEMS)}[15m]) > 2",
        hold="0m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="{{ $value | humanize }} forecasts were not made within 15 minutes ({{ $labels.problem }}).",
        impact="Those ticks follow demand now.",
    )
    yield Alert(
        name="ForecastFitFailing",
        expr=f"{selector(exported.FORECAST_FIT_FAILED)} == 1",
        hold="30m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary=f"The model of {{{{ $labels.signal }}}} of {_HERE} cannot be fitted anew.",
        impact="The model before it is used and grows old; other methods win where they are better.",
    )


def _without_forecast(policy: Policy) -> Iterator[str]:
    """Leave out who has none on purpose."""
    for deployment in policy.deployments:
        if not deployment.forecast.enabled or deployment.paused:
            here = (equals("application", deployment.application), equals("deployment", deployment.deployment))
            yield f" unless {selector(exported.FORECAST_AVAILABLE, *here)}"


def _late_capacity() -> Iterator[Alert]:
    late = f"{selector(exported.LEDGER_ORDERS, equals('status', 'late'))} > 0"
    needed = selector(exported.STAGE_REPLICAS, equals("stage", "reactive"))
    short = f"{needed} > ignoring (stage) {selector(exported.READY_REPLICAS)}"
    on = "on (cluster, application, deployment)"
    summary = f"{_HERE}: {{{{ $value }}}} orders of replicas are past their deadline (95th percentile of starts)."
    yield Alert(
        name="CapacityLate",
        expr=f"({late}) and {on} ({short})",
        hold="2m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary=summary,
        impact="Demand now needs more replicas than serve, and those that were ordered do not come.",
        labels={"demand": "unmet"},
    )
    yield Alert(
        name="CapacityLate",
        expr=f"({late}) unless {on} ({short})",
        hold="5m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary=summary,
        impact="Demand is still met; what was ordered ahead of it will not be there in time.",
        labels={"demand": "met"},
    )


def _nodes() -> Iterator[Alert]:
    refused = selector(exported.UNPLACED, matches("obstacle", "stocked_out|quota|refused"))
    late = selector(exported.SUPPLY_ORDERS, equals("status", "late"))
    missing = f"max by (cluster) ({selector(exported.UNPLACED)} or {selector(exported.LATE_REPLICAS)}) > 0"
    yield Alert(
        name="GpuStockOut",
        expr=f"max by (cluster, application, deployment, obstacle) ({refused}) > 0",
        hold="5m",
        severity=Severity.TICKET,
        team=Team.CAPACITY,
        summary=f"{_HERE}: {{{{ $value }}}} replicas have no node in any pool ({{{{ $labels.obstacle }}}}).",
        impact="Demand that is foreseen, or here, is not served; no pool of the policy gives another node.",
    )
    yield Alert(
        name="NodesLate",
        expr=f"(max by (cluster, layer, key) ({late}) > 0) and on (cluster) ({missing})",
        hold="2m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="{{ $labels.layer }}s of {{ $labels.key }} that were ordered are past their deadline.",
        impact="Replicas wait for them; the next pool in order is asked meanwhile.",
    )


def _at_limit() -> Alert:
    needed = selector(exported.STAGE_REPLICAS, equals("stage", "reactive"))
    return Alert(
        name="AtLimit",
        expr=f"{needed} > ignoring (stage) {selector(exported.MAX_REPLICAS)}",
        hold="10m",
        severity=Severity.TICKET,
        team=Team.CAPACITY,
        summary=f"{_HERE} needs {{{{ $value }}}} replicas for its demand now, more than the policy allows.",
        impact="Requests queue and are shed until demand falls or limits.max_replicas is raised.",
    )


def _budget_binding() -> Alert:
    return Alert(
        name="BudgetBinding",
        expr=f"{selector(exported.BUDGET_WANTED)} > {selector(exported.BUDGET_LIMIT)}",
        hold="10m",
        severity=Severity.TICKET,
        team=Team.CAPACITY,
        summary="Deployments together want {{ $value | humanize }} of {{ $labels.resource }}, more than the budget.",
        impact="Deployments of low priority get fewer replicas than they need; their requests queue and are shed.",
    )


def _second_writer() -> Alert:
    return Alert(
        name="SecondWriter",
        expr=f"increase({selector(exported.CONFLICTS, equals('cause', 'second_writer'))}[15m]) >= 2",
        hold="0m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary=f"Something else keeps changing the replica target of {_HERE}.",
        impact="Two writers undo each other's decisions; the controller reports it and does not fight.",
    )


def _flapping() -> Alert:
    def changes(action: str) -> str:
        of = selector(exported.DECISIONS, equals("action", action))
        return f"sum by (cluster, application, deployment) (increase({of}[1h])) >= {FLAPS}"

    return Alert(
        name="Flapping",
        expr=f"({changes('scale_up')}) and ({changes('scale_down')})",
        hold="0m",
        severity=Severity.TICKET,
        team=Team.SERVICE,
        summary=f"{_HERE} was scaled up {{{{ $value | humanize }}}} times within an hour, and down as often.",
        impact="Replicas start and stop without serving much; each start costs GPU time.",
    )


def _actuation_failing() -> Alert:
    failed = selector(exported.ACTUATIONS, matches("outcome", "failed|refused"))
    return Alert(
        name="ActuationFailing",
        expr=f"sum by (cluster, application, deployment) (increase({failed}[10m])) >= 3",
        hold="0m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary=f"{{{{ $value | humanize }}}} changes of {_HERE} were refused or failed within ten minutes.",
        impact="Decisions are made and do not come about; replicas stay where they are.",
    )


def _webhook_delivery_failing() -> Alert:
    dead = f"increase({selector(exported.WEBHOOK_DELIVERIES, equals('result', 'dead'))}[1h])"
    waiting_s = selector(exported.WEBHOOK_OLDEST)
    return Alert(
        name="WebhookDeliveryFailing",
        expr=f"max by (cluster, sink) ({dead}) > 0 or max by (cluster, sink) ({waiting_s}) > {BEHIND_S:g}",
        hold="5m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="The webhook sink {{ $labels.sink }} is ten minutes behind, or lost events within the last hour.",
        impact="Whoever listens there does not hear of late capacity, waiting plans or a stopped controller.",
    )
