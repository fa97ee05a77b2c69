"""What the controller sees, expects, decides and does, and whether it was right."""

from __future__ import annotations

from typing import Any

from grafanalib.core import Template

from controller.catalog import exported, scraped, watched
from controller.catalog.promql import differs, equals, matches
from dashboards.cluster import cluster_panels
from dashboards.frame import dashboard
from dashboards.panel import DATASOURCE, Panel, Query, Section, Shape, Unit, line
from dashboards.query import of, quantile, total

_HERE = "{{application}}/{{deployment}}"
_BY = "application, deployment"
_SIGNAL = matches("signal", "$signal")
_HORIZON = "${horizon}s"
_ON_TIME_RANGE_CHANGE = 2


def autoscaling() -> Any:
    """Return the dashboard for the question why."""
    return dashboard(
        uid="foreserve-autoscaling",
        title="Foreserve / Autoscaling",
        description="Demand and its forecast, what was wanted and came, and why. `foreserve explain` says it in words.",
        variables=(_signal(), _horizon()),
        sections=(
            Section("Demand and forecast", _demand()),
            Section("How good is the forecast?", _trust()),
            Section("Wanted and there", _wanted()),
            Section("Why", _why()),
            Section("Lead time and capacity", _lead()),
            Section("Nodes and workers", cluster_panels()),
            Section("What people, alerts and other systems ask and hear", _outside()),
            Section("Does the controller see and act?", _health()),
        ),
    )


def _signal() -> Template:
    """Offer the signals that are forecast, which are those that deployments are sized by."""
    return Template(
        name="signal",
        label="Signal",
        query=f"label_values({of(exported.FORECAST)}, signal)",
        dataSource=DATASOURCE,
        refresh=_ON_TIME_RANGE_CHANGE,
        default="work",
    )


def _horizon() -> Template:
    """Ask how far the controller looks ahead, so that an old forecast can be laid over what came true."""
    return Template(
        name="horizon",
        label="Horizon (s)",
        query=f"query_result(round(max({of(exported.FORECAST_HORIZON)})))",
        regex=r"/ ([0-9]+) [0-9]+$/",
        dataSource=DATASOURCE,
        refresh=_ON_TIME_RANGE_CHANGE,
        default="60",
    )


def _forecast(quantile_name: str, *, past: bool = False) -> str:
    series = of(exported.FORECAST, _SIGNAL, equals("quantile", quantile_name))
    return f"max by ({_BY}) ({series}{f' offset {_HORIZON}' if past else ''})"


def _demand() -> tuple[Panel, ...]:
    demand = of(exported.DEMAND, _SIGNAL)
    return (
        Panel(
            title="Demand now and its forecast",
            description="Forecast: the largest demand from now to the horizon. It adds replicas and never takes any.",
            unit=Unit.COUNT,
            queries=(
                Query(f"max by ({_BY}) ({demand})", f"demand {_HERE}"),
                *(Query(_forecast(q), f"forecast p{float(q) * 100:g} {_HERE}") for q in ("0.1", "0.5", "0.9")),
            ),
            width=12,
            height=9,
            dashed=("/^forecast/",),
        ),
        Panel(
            title="What was forecast, and what came true",
            description="The forecast of one horizon ago, over the largest demand since. Above p90 one time in ten.",
            unit=Unit.COUNT,
            queries=(
                Query(f"max by ({_BY}) (max_over_time({demand}[{_HORIZON}]))", f"came true {_HERE}"),
                *(
                    Query(_forecast(q, past=True), f"forecast p{float(q) * 100:g} {_HERE}")
                    for q in ("0.1", "0.5", "0.9")
                ),
            ),
            width=12,
            height=9,
            dashed=("/^forecast/",),
        ),
        Panel(
            title="All signals",
            description="Demand by signal; the one that needs most replicas decides.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.DEMAND), f"{_HERE} {{{{signal}}}}"),),
        ),
        Panel(
            title="Forecast method",
            description="Which method made the forecast of each signal.",
            unit=Unit.NONE,
            queries=(Query(of(exported.FORECAST_INFO)),),
            shape=Shape.TABLE,
            hidden_columns=("Time", "__name__", "instance", "job", "Value"),
        ),
        Panel(
            title="Forecast horizon",
            description="Lead time and one interval: how far ahead must be known.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.FORECAST_HORIZON), f"{_HERE} {{{{horizon}}}}"),),
        ),
    )


def _trust() -> tuple[Panel, ...]:
    legend = f"{_HERE} {{{{signal}}}} {{{{horizon_seconds}}}} s"
    return (
        line(
            "Coverage",
            "Share of outcomes at or below the promised quantile; dashed, the promise. Lower: it foresees too little.",
            Unit.SHARE,
            Query(of(exported.FORECAST_COVERAGE), legend),
            Query(of(exported.FORECAST_PROMISE), f"promised {legend}"),
            dashed=("/^promised/",),
        ),
        line(
            "Trusted, in use, fitted",
            "0: its coverage broke the promise, or there is none; demand now decides alone until it is back.",
            Unit.YES_NO,
            Query(of(exported.FORECAST_TRUSTED), f"trusted {legend}"),
            Query(of(exported.FORECAST_AVAILABLE), f"in use {_HERE}"),
            Query(of(exported.FORECAST_FIT_FAILED), f"last fit failed {legend}"),
        ),
        line(
            "Pinball loss",
            "Of the promised quantile, in the signal's unit. Methods compete by it; lower is better.",
            Unit.COUNT,
            Query(of(exported.FORECAST_PINBALL_LOSS), legend),
        ),
        line(
            "Bias",
            "Mean of the promised quantile minus what came. Above 0 is the reserve that the quantile asks for.",
            Unit.COUNT,
            Query(of(exported.FORECAST_BIAS), legend),
            minimum=None,
        ),
        Panel(
            title="Leading method",
            description="The method with the largest weight, by signal and horizon.",
            unit=Unit.NONE,
            queries=(Query(of(exported.FORECAST_LEADING_INFO)),),
            shape=Shape.TABLE,
            width=12,
            hidden_columns=("Time", "__name__", "instance", "job", "Value"),
        ),
        line(
            "Independent horizons",
            "How much the record is worth. Below 24 trust is not judged yet.",
            Unit.COUNT,
            Query(of(exported.FORECAST_RECORD), legend),
        ),
        line(
            "Fitted model",
            "Age of what it has learned from.",
            Unit.SECONDS,
            Query(of(exported.FORECAST_MODEL_AGE), f"age {legend}"),
        ),
        line(
            "Forecasts that failed or came too late",
            "Per second. Good is none; the tick goes on without.",
            Unit.PER_SECOND,
            Query(total("problem", f"rate({of(exported.FORECAST_PROBLEMS)}[$__rate_interval])"), "{{problem}}"),
        ),
    )


def _wanted() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Replicas",
            description="Wanted, set in Ray Serve, and what serves, starts and stops. Dashed: the policy's limits.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.DESIRED_REPLICAS), f"wanted {_HERE}"),
                Query(of(exported.TARGET_REPLICAS), f"target {_HERE}"),
                Query(of(exported.READY_REPLICAS), f"ready {_HERE}"),
                Query(of(exported.STARTING_REPLICAS), f"starting {_HERE}"),
                Query(of(exported.STOPPING_REPLICAS), f"stopping {_HERE}"),
                Query(of(exported.MIN_REPLICAS), f"limit min {_HERE}"),
                Query(of(exported.MAX_REPLICAS), f"limit max {_HERE}"),
            ),
            dashed=("/^limit/",),
            width=12,
            height=9,
        ),
        Panel(
            title="Stages of the decision",
            description="Reactive: demand now. Forecast: demand ahead. Stabilise: delays. Limit: bounds, last.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.STAGE_REPLICAS), f"{{{{stage}}}} {_HERE}"),),
            width=12,
            height=9,
        ),
        Panel(
            title="Workers and nodes",
            description="Ray nodes that run and that are on the way, by worker group.",
            unit=Unit.COUNT,
            queries=(
                Query(total("NodeType", of(watched.NODES_ACTIVE)), "active {{NodeType}}"),
                Query(total("NodeType", of(watched.NODES_PENDING)), "pending {{NodeType}}"),
            ),
        ),
        Panel(
            title="Capacity ordered",
            description="Orders of the ledger by where they are. late: past the 95th percentile of starts.",
            unit=Unit.COUNT,
            queries=(Query(total("status", of(exported.LEDGER_ORDERS)), "{{status}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Missing replicas",
            description="What demand needs now, less what serves. Above 0 users wait.",
            unit=Unit.COUNT,
            queries=(Query(_missing(), _HERE),),
            thresholds=((1, "red"),),
        ),
    )


def _increase(by: str, series: str) -> str:
    return total(by, f"increase({series}[$__rate_interval])")


def _missing() -> str:
    needed = of(exported.STAGE_REPLICAS, equals("stage", "reactive"))
    return f"clamp_min({needed} - ignoring (stage) {of(exported.READY_REPLICAS)}, 0)"


def _busy() -> str:
    """Return demand over what the ready replicas carry, by signal."""
    here = "cluster, application, deployment"
    ready = f"on ({here}) group_left () ({of(exported.READY_REPLICAS)} > 0)"
    return f"{of(exported.DEMAND)} / {ready} / on ({here}, signal) group_left (source) {of(exported.CAPACITY)}"


def _why() -> tuple[Panel, ...]:
    decisions = of(exported.DECISIONS)
    changes = of(exported.DECISIONS, differs("action", "none"))
    return (
        Panel(
            title="Changes by reason",
            description="Decisions that changed a target, by action and the reason that bound.",
            unit=Unit.COUNT,
            queries=(Query(f"{_increase('action, reason', changes)} > 0", "{{action}} {{reason}}"),),
            shape=Shape.BARS,
            width=12,
        ),
        Panel(
            title="Reasons over time",
            description="Share of decisions by what bound: steady, demand, forecast, delays, limits, no data.",
            unit=Unit.SHARE,
            queries=(Query(f"{_increase('reason', decisions)} / scalar({_increase('', decisions)})", "{{reason}}"),),
            shape=Shape.STACK,
            width=12,
            maximum=1,
        ),
        Panel(
            title="What came of decisions",
            description="applied: written and read back. refused, failed: see the runbook ActuationFailing.",
            unit=Unit.COUNT,
            queries=(Query(_increase("outcome", of(exported.ACTUATIONS)), "{{outcome}}"),),
            shape=Shape.BARS,
        ),
        Panel(
            title="Targets changed by others",
            description="redeploy: a deploy reset the target. second_writer: somebody else scales too.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    _increase(f"{_BY}, cause", of(exported.CONFLICTS)),
                    f"{{{{cause}}}} {_HERE}",
                ),
            ),
            shape=Shape.BARS,
        ),
        Panel(
            title="Policy in force",
            description="Version (of the file's content) and mode.",
            unit=Unit.NONE,
            queries=(Query(of(exported.POLICY_INFO)),),
            shape=Shape.TABLE,
            hidden_columns=("Time", "__name__", "instance", "job", "Value"),
        ),
    )


def _lead() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Lead time",
            description="From order to ready. source: measured, from the policy, or assumed.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.LEAD_TIME), f"p{{{{quantile}}}} {_HERE} {{{{source}}}}"),),
        ),
        Panel(
            title="Lead time by layer",
            description="What replica, worker and node each add to the P90 lead time. source: as for the lead time.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.LEAD_LAYER), f"{{{{layer}}}} {_HERE} {{{{source}}}}"),),
            shape=Shape.STACK,
        ),
        Panel(
            title="Breakdown of starts",
            description="Ray's start-up of a replica, and its constructor within it: weights and compilation.",
            unit=Unit.MILLISECONDS,
            queries=(
                Query(quantile(0.5, scraped.SERVE_STARTUP, _BY), f"start-up p50 {_HERE}"),
                Query(quantile(0.9, scraped.SERVE_STARTUP, _BY), f"start-up p90 {_HERE}"),
                Query(quantile(0.9, watched.SERVE_INITIALIZATION, _BY), f"constructor p90 {_HERE}"),
            ),
        ),
        Panel(
            title="Capacity of a replica",
            description="Load that one replica carries within its objectives. source: learned, or the policy's figure.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.CAPACITY), f"{_HERE} {{{{signal}}}} {{{{source}}}}"),),
        ),
        Panel(
            title="Load per replica, as a share of its capacity",
            description="Above 100 % a replica carries more than it should.",
            unit=Unit.SHARE,
            queries=(Query(_busy(), f"{_HERE} {{{{signal}}}}"),),
            thresholds=((1, "red"),),
        ),
        Panel(
            title="KV cache in use",
            description="Over all replicas of a deployment.",
            unit=Unit.SHARE,
            queries=(Query(of(exported.KV_CACHE_USAGE), _HERE),),
            maximum=1,
        ),
        Panel(
            title="Idle",
            description="1 while two independent sources agree that there is no traffic; only then may it go to zero.",
            unit=Unit.YES_NO,
            queries=(Query(of(exported.IDLE), _HERE),),
        ),
    )


def _health() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Sources",
            description="1 while a source is fresh.",
            unit=Unit.YES_NO,
            queries=(Query(of(exported.SOURCE_UP), "{{kind}} {{source}}"),),
            width=6,
        ),
        Panel(
            title="Age of sources",
            description="Time since each last answered. Older than max_signal_age_s is stale.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.SOURCE_AGE), "{{kind}} {{source}}"),),
            width=6,
        ),
        Panel(
            title="Known signals",
            description="1 while a demand signal is known. Unknown is not zero: targets are held.",
            unit=Unit.YES_NO,
            queries=(Query(of(exported.SIGNAL_KNOWN), f"{_HERE} {{{{signal}}}}"),),
            width=6,
        ),
        Panel(
            title="Blind spots and degraded conditions",
            description="Each keeps something from being lowered. Good is none.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.BLIND_SPOTS), f"blind spots {_HERE}"), Query(of(exported.DEGRADED), "degraded")),
            width=6,
        ),
        Panel(
            title="Age of signals",
            description="Of the newest sample behind each.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.SIGNAL_AGE), f"{_HERE} {{{{signal}}}}"),),
            width=6,
        ),
        Panel(
            title="Length of a tick",
            description="Should stay well below the interval.",
            unit=Unit.SECONDS,
            queries=tuple(Query(quantile(p, exported.TICK_DURATION, ""), f"p{p * 100:g}") for p in (0.5, 0.9, 0.99)),
            width=5,
        ),
        Panel(
            title="Steps of a tick",
            description="Where the time goes.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.STEP_DURATION), "{{step}}"),),
            shape=Shape.STACK,
            width=5,
        ),
        Panel(
            title="Ticks",
            description="Complete, failed and left out, per second; failed writes of the store; policy changes.",
            unit=Unit.PER_SECOND,
            queries=(
                Query(f"rate({of(exported.TICKS)}[$__rate_interval])", "complete"),
                Query(f"rate({of(exported.TICK_FAILURES)}[$__rate_interval])", "failed"),
                Query(f"rate({of(exported.TICKS_SKIPPED)}[$__rate_interval])", "left out"),
                Query(f"rate({of(exported.STORE_ERRORS)}[$__rate_interval])", "store errors"),
                Query(f"rate({of(exported.POLICY_RELOADS)}[$__rate_interval])", "policy {{result}}"),
            ),
            width=5,
        ),
        Panel(
            title="Since the last tick",
            description="Above three intervals the controller is stalled.",
            unit=Unit.SECONDS,
            queries=(Query(f"time() - {of(exported.LAST_TICK)}", "{{instance}}"),),
            width=5,
        ),
        Panel(
            title="Controllers that act",
            description="One, whatever their number; none for half a minute while the lease changes hands.",
            unit=Unit.COUNT,
            queries=(Query(f"sum({of(exported.LEADS)})", "acting"),),
            width=4,
        ),
    )


def _outside() -> tuple[Panel, ...]:
    return (
        Panel(
            title="Overrides in force",
            description="What people and alerts ask for, by kind; `explain` says who and why.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.OVERRIDES), "{{action}}"),),
            shape=Shape.STACK,
            width=6,
        ),
        Panel(
            title="Changes that wait for a word",
            description="Mode approve: 1 while one waits.",
            unit=Unit.COUNT,
            queries=(Query(of(exported.AWAITING_APPROVAL), _HERE),),
            width=6,
        ),
        Panel(
            title="Webhooks taken and refused",
            description="By receiver and what came of them.",
            unit=Unit.COUNT,
            queries=(Query(_increase("receiver, result", of(exported.WEBHOOKS_RECEIVED)), "{{receiver}} {{result}}"),),
            width=6,
        ),
        Panel(
            title="Refused API requests",
            description="By reason.",
            unit=Unit.COUNT,
            queries=(Query(_increase("reason", of(exported.API_REFUSALS)), "{{reason}}"),),
            width=6,
        ),
        Panel(
            title="Attempts to deliver events",
            description="Failed ones are tried again; dead ones are not.",
            unit=Unit.COUNT,
            queries=(Query(_increase("sink, result", of(exported.WEBHOOK_DELIVERIES)), "{{sink}} {{result}}"),),
            width=8,
        ),
        Panel(
            title="Events that wait, and dead letters",
            description="By sink; `foreserve webhooks dead` lists the latter.",
            unit=Unit.COUNT,
            queries=(
                Query(of(exported.WEBHOOK_PENDING), "{{sink}} waiting"),
                Query(of(exported.WEBHOOK_DEAD_LETTERS), "{{sink}} dead"),
            ),
            width=8,
        ),
        Panel(
            title="Oldest event that waits",
            description="How far behind a sink is.",
            unit=Unit.SECONDS,
            queries=(Query(of(exported.WEBHOOK_OLDEST), "{{sink}}"),),
            width=8,
        ),
    )
