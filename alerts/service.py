"""Alerts about the service that is scaled: replicas, engines, ingress."""

from __future__ import annotations

from alerts.recording import APPLICATION_OF_PROXY
from alerts.rule import Alert, Group, Severity, Team
from controller.catalog import exported, recorded, scraped, watched
from controller.catalog.promql import equals, matches, selector

KV_CACHE_FULL = 0.95
"""Above this vLLM preempts running requests to make room, and computes them again."""

RESTARTS = 3
"""So many replicas started without being ordered, in half an hour, are a loop and no accident."""

_BY = "cluster, application, deployment"
_HERE = "{{ $labels.application }}/{{ $labels.deployment }}"


def service_group(*, every_s: int) -> Group:
    """Return the alerts about Ray Serve, vLLM and HAProxy."""
    return Group(
        name="foreserve-service",
        interval_s=every_s,
        rules=(
            _deployment_unhealthy(),
            _crash_loop(),
            _queue_saturated(),
            _kv_cache_saturated(),
            _no_server_behind_haproxy(),
            _haproxy_out_of_step(),
            _workers_not_coming(),
        ),
    )


def _deployment_unhealthy() -> Alert:
    return Alert(
        name="DeploymentUnhealthy",
        expr=f"max by ({_BY}) ({selector(watched.SERVE_DEPLOYMENT_STATUS)} <= 2) > 0",
        hold="5m",
        severity=Severity.PAGE,
        team=Team.SERVICE,
        summary=f"{_HERE} has been UNHEALTHY or DEPLOY_FAILED in Ray Serve for five minutes.",
        impact="It serves with fewer replicas than it should, or not at all; scaling up does not help.",
    )


def _crash_loop() -> Alert:
    """Compare replicas that started with replicas that were ordered.

    A replica has a series of its own, which stays when it dies. The controller may be ordering and
    cancelling on purpose; that is Flapping, and no crash loop.
    """
    starts = selector(watched.SERVE_REPLICA_STARTS)
    new = f"count by ({_BY}) ({starts} unless {starts} offset 30m)"
    target = selector(scraped.SERVE_TARGET)
    ordered = f"max by ({_BY}) (max_over_time({target}[30m])) - min by ({_BY}) (min_over_time({target}[30m]))"
    orders = selector(exported.DECISIONS, equals("action", "scale_up"))
    busy = f"sum by (application, deployment) (increase({orders}[30m])) >= {RESTARTS}"
    return Alert(
        name="ReplicaCrashLoop",
        expr=f"({new} - ({ordered}) >= {RESTARTS}) unless on (application, deployment) ({busy})",
        hold="2m",
        severity=Severity.PAGE,
        team=Team.SERVICE,
        summary=f"{_HERE} started {{{{ $value }}}} replicas in 30 minutes that nobody had ordered.",
        impact="Replicas die and are replaced: streams break off, and GPUs spend their time loading weights.",
    )


def _queue_saturated() -> Alert:
    waits = f"histogram_quantile(0.95, {recorded.QUEUE_TIME_BUCKET.name})"
    promised = selector(recorded.SLO_THRESHOLD, equals("slo", "ttft"))
    return Alert(
        name="QueueSaturated",
        expr=f"{waits} > on (application, deployment) group_left () {promised}",
        hold="5m",
        severity=Severity.PAGE,
        team=Team.SERVICE,
        summary=f"{_HERE}: requests wait {{{{ $value | humanizeDuration }}}} in the engine (95th percentile).",
        impact="Waiting alone takes longer than the promised time to first token.",
    )


def _kv_cache_saturated() -> Alert:
    return Alert(
        name="KvCacheSaturated",
        expr=f"{recorded.KV_USAGE.name} > {KV_CACHE_FULL}",
        hold="10m",
        severity=Severity.TICKET,
        team=Team.SERVICE,
        summary=f"{_HERE}: the KV caches have been {{{{ $value | humanizePercentage }}}} full for ten minutes.",
        impact="vLLM preempts requests and computes them twice; replicas carry less than the policy assumes.",
    )


def _no_server_behind_haproxy() -> Alert:
    down = f"{selector(scraped.HAPROXY_ACTIVE_SERVERS, matches('proxy', 'http-.+'))} == 0"
    named = f'label_replace({down}, "application", "$1", "proxy", "{APPLICATION_OF_PROXY}")'
    wanted = f"sum by (cluster, application) ({selector(scraped.SERVE_TARGET)}) > 0"
    return Alert(
        name="HaproxyBackendDown",
        expr=f"({named}) and on (cluster, application) ({wanted})",
        hold="2m",
        severity=Severity.PAGE,
        team=Team.PLATFORM,
        summary="HAProxy on {{ $labels.instance }} has no replica of {{ $labels.application }} that is up.",
        impact="Requests wait in Serve's fallback proxy or fail with 500 and 503, though replicas are wanted.",
    )


def _haproxy_out_of_step() -> Alert:
    return Alert(
        name="HaproxyOutOfStep",
        expr=f"max by (cluster, node_id) ({selector(watched.SERVE_HAPROXY_MISMATCH)}) > 0",
        hold="5m",
        severity=Severity.TICKET,
        team=Team.PLATFORM,
        summary="HAProxy on node {{ $labels.node_id }} has not taken over Ray Serve's replicas for five minutes.",
        impact="New replicas get no traffic and dead ones still do, so scaling has no effect on that node.",
    )


def _workers_not_coming() -> Alert:
    return Alert(
        name="WorkersNotComing",
        expr=f"sum by (cluster, NodeType) ({selector(watched.NODES_PENDING)}) > 0",
        hold="15m",
        severity=Severity.TICKET,
        team=Team.CAPACITY,
        summary="Ray has waited 15 minutes for {{ $value }} nodes of {{ $labels.NodeType }}.",
        impact="Replicas that were ordered cannot start; with GPUs this is most often a stock-out or a quota.",
    )
