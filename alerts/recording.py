"""Recording rules that hold for every policy: vLLM's series by deployment, requests by application."""

from __future__ import annotations

from alerts.rule import Group, Recording
from controller.catalog import recorded, scraped
from controller.catalog.metric import Metric
from controller.catalog.promql import differs, equals, matches, selector

FAILED_STATUS = "5..|408"
"""Failed by the service: server errors, shed requests (503) and time-outs. A client that left (499) is none."""

APPLICATION_OF_PROXY = "http-(.+?)(-via-ingress-request-router)?"
"""HAProxy's backends of an application; under direct streaming there are two."""


def recording_group(*, every_s: int) -> Group:
    """Return the group that every other one reads from."""
    return Group(
        name="foreserve-recording",
        interval_s=every_s,
        rules=(
            _replica_info(),
            _by_deployment(recorded.TTFT_BUCKET, scraped.VLLM_TTFT),
            _by_deployment(recorded.ITL_BUCKET, scraped.VLLM_ITL),
            _by_deployment(recorded.QUEUE_TIME_BUCKET, scraped.VLLM_QUEUE_TIME),
            _kv_usage(),
            *_requests(),
        ),
    )


def _replica_info() -> Recording:
    """Name each replica's deployment, since vLLM's series carry only the replica's id.

    The five minutes keep the last rates of a replica that has just gone, and bridge gauges that expire.
    """
    healthy = selector(scraped.SERVE_REPLICA_HEALTHY)
    alive = f"max by (cluster, application, deployment, replica) (last_over_time({healthy}[5m])) * 0 + 1"
    return Recording(metric=recorded.REPLICA_INFO, expr=f'label_replace({alive}, "ReplicaId", "$1", "replica", "(.+)")')


def joined(vector: str) -> str:
    """Give vLLM's series the labels of their deployment."""
    info = recorded.REPLICA_INFO.name
    return f"{vector} * on (cluster, ReplicaId) group_left (application, deployment) {info}"


def _by_deployment(metric: Metric, histogram: Metric) -> Recording:
    rate = joined(f"rate({selector(histogram, sample='bucket')}[5m])")
    return Recording(metric=metric, expr=f"sum by (cluster, application, deployment, le) ({rate})")


def _kv_usage() -> Recording:
    usage = joined(selector(scraped.VLLM_KV_USAGE))
    return Recording(metric=recorded.KV_USAGE, expr=f"avg by (cluster, application, deployment) ({usage})")


def _requests() -> tuple[Recording, ...]:
    """Count requests as Serve and as HAProxy see them.

    Serve does not see what HAProxy answers by itself (no server, a broken connection); HAProxy forgets
    its counts whenever the replicas change. Of both, the one that saw more is nearer the truth.
    """
    serve, proxy = {"view": "serve"}, {"view": "haproxy"}
    all_http = selector(scraped.SERVE_HTTP_REQUESTS, differs("application", ""))
    failed_http = selector(
        scraped.SERVE_HTTP_REQUESTS, differs("application", ""), matches("status_code", FAILED_STATUS)
    )
    backends = matches("proxy", "http-.+")
    all_proxy = selector(scraped.HAPROXY_RESPONSES, backends)
    failed_proxy = selector(scraped.HAPROXY_RESPONSES, backends, equals("code", "5xx"))
    return (
        Recording(metric=recorded.HTTP_REQUESTS, expr=_serve_rate(all_http), labels=serve),
        # A service that never failed has no failed series, which here does mean none.
        Recording(
            metric=recorded.HTTP_FAILURES,
            expr=f"{_serve_rate(failed_http)} or {_serve_rate(all_http)} * 0",
            labels=serve,
        ),
        Recording(metric=recorded.HTTP_REQUESTS, expr=_proxy_rate(all_proxy), labels=proxy),
        Recording(metric=recorded.HTTP_FAILURES, expr=_proxy_rate(failed_proxy), labels=proxy),
    )


def _serve_rate(counter: str) -> str:
    return f"sum by (cluster, application) (rate({counter}[5m]))"


def _proxy_rate(counter: str) -> str:
    named = f'label_replace(rate({counter}[5m]), "application", "$1", "proxy", "{APPLICATION_OF_PROXY}")'
    return f"sum by (cluster, application) ({named})"
