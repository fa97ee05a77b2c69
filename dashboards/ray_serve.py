"""Panels of Ray Serve: replicas, routing, its control loop."""

from __future__ import annotations

from controller.catalog import exported, scraped, watched
from dashboards.panel import Panel, Query, Shape, Unit, line
from dashboards.query import of, quantile, rate, spread, total

_DEPLOYMENT = "{{application}}/{{deployment}}"
_QUANTILES = (0.5, 0.9, 0.99)
_SERVE_STATES = {
    "1": "DEPLOY_FAILED", "2": "UNHEALTHY", "3": "UPDATING", "4": "UPSCALING", "5": "DOWNSCALING", "6": "HEALTHY",
}  # fmt: skip
_PROXY_STATES = {"1": "STARTING", "2": "HEALTHY", "3": "UNHEALTHY", "4": "DRAINING", "5": "DRAINED"}


def replica_panels() -> tuple[Panel, ...]:
    """Return the panels of replicas, as Ray Serve sees them."""
    by = "application, deployment"
    starts = of(watched.SERVE_REPLICA_STARTS)
    return (
        Panel(
            title="Status",
            description="Of each deployment, as Ray Serve says.",
            unit=Unit.NONE,
            queries=(Query(f"max by ({by}) ({of(watched.SERVE_DEPLOYMENT_STATUS)})", _DEPLOYMENT),),
            shape=Shape.NUMBERS,
            width=6,
            names=_SERVE_STATES,
            minimum=None,
        ),
        line(
            "Replicas by state",
            "Target, healthy, starting, stopping.",
            Unit.COUNT,
            Query(f"max by ({by}) ({of(scraped.SERVE_TARGET)})", f"target {_DEPLOYMENT}"),
            Query(total(by, of(scraped.SERVE_REPLICA_HEALTHY)), f"healthy {_DEPLOYMENT}"),
            Query(of(exported.STARTING_REPLICAS), f"starting {_DEPLOYMENT}"),
            Query(of(exported.STOPPING_REPLICAS), f"stopping {_DEPLOYMENT}"),
        ),
        line(
            "Requests in replicas",
            "Requests inside each replica, the engine's queue included.",
            Unit.COUNT,
            Query(total(f"{by}, replica", of(scraped.SERVE_PROCESSING)), f"{_DEPLOYMENT} {{{{replica}}}}"),
        ),
        line(
            "Requests at handles",
            "Waiting for a replica. Reads 0 under direct streaming.",
            Unit.COUNT,
            Query(total(by, of(scraped.SERVE_QUEUED_HANDLE)), _DEPLOYMENT),
        ),
        line(
            "Requests per replica",
            "Processed per second.",
            Unit.REQUESTS_PER_SECOND,
            Query(total(f"{by}, replica", rate(scraped.SERVE_REQUESTS)), f"{_DEPLOYMENT} {{{{replica}}}}"),
        ),
        line(
            "Requests per deployment",
            "Processed per second.",
            Unit.REQUESTS_PER_SECOND,
            Query(total(by, rate(scraped.SERVE_REQUESTS)), _DEPLOYMENT),
        ),
        line(
            "Errors per deployment and replica",
            "Exceptions raised in replicas, per second.",
            Unit.REQUESTS_PER_SECOND,
            Query(
                total(f"{by}, replica, exception_type", rate(scraped.SERVE_DEPLOYMENT_ERRORS)),
                f"{_DEPLOYMENT} {{{{replica}}}} {{{{exception_type}}}}",
            ),
        ),
        line(
            "Latency per deployment",
            "In the replica.",
            Unit.MILLISECONDS,
            *spread(watched.SERVE_PROCESSING_LATENCY, by, _DEPLOYMENT),
        ),
        line(
            "Latency per replica (p50, p90, p99)",
            "A slow replica stands out.",
            Unit.MILLISECONDS,
            *(
                Query(
                    quantile(p, watched.SERVE_PROCESSING_LATENCY, f"{by}, replica"),
                    f"{_DEPLOYMENT} {{{{replica}}}} p{p * 100:g}",
                )
                for p in _QUANTILES
            ),
        ),
        line(
            "Busy share of replicas",
            "Of the request slots that max_ongoing_requests gives.",
            Unit.PERCENT,
            Query(total(f"{by}, replica", of(watched.SERVE_UTILIZATION)), f"{_DEPLOYMENT} {{{{replica}}}}"),
        ),
        line(
            "Replica starts",
            "Replicas that exist and did not five minutes ago. More than were ordered: a crash loop.",
            Unit.COUNT,
            Query(
                f"count by ({by}) ({starts} unless {starts} offset 5m)",
                _DEPLOYMENT,
            ),
        ),
        line(
            "Failed health checks",
            "Per second. Good is none.",
            Unit.PER_SECOND,
            Query(total(f"{by}, replica", rate(watched.SERVE_HEALTH_CHECK_FAILURES)), f"{_DEPLOYMENT} {{{{replica}}}}"),
        ),
    )


def routing_panels() -> tuple[Panel, ...]:
    """Return the panels of routers, proxies and Serve's own control loop."""
    by = "application, deployment"
    return (
        Panel(
            title="Proxy status",
            description="Of Serve's proxy on each node.",
            unit=Unit.NONE,
            queries=(Query(f"max by (node_id) ({of(watched.SERVE_PROXY_STATUS)})", "{{node_id}}"),),
            shape=Shape.NUMBERS,
            width=6,
            names=_PROXY_STATES,
            minimum=None,
        ),
        Panel(
            title="Application status",
            description="1 DEPLOY_FAILED, 2 UNHEALTHY, 3 NOT_STARTED, 4 DELETING, 5 DEPLOYING, 6 RUNNING.",
            unit=Unit.NONE,
            queries=(Query(f"max by (application) ({of(watched.SERVE_APPLICATION_STATUS)})", "{{application}}"),),
            shape=Shape.NUMBERS,
            width=6,
            minimum=None,
        ),
        line("HTTP requests in flight", "By node.", Unit.COUNT, Query(of(scraped.SERVE_ONGOING_HTTP), "{{instance}}")),
        line(
            "Requests taken in by routers",
            "Per second.",
            Unit.REQUESTS_PER_SECOND,
            Query(total(by, rate(watched.SERVE_ROUTER_REQUESTS)), _DEPLOYMENT),
        ),
        line(
            "Requests routed for HAProxy",
            "Direct streaming asks the router once for each request.",
            Unit.REQUESTS_PER_SECOND,
            Query(total("application", rate(watched.SERVE_INGRESS_ROUTED)), "{{application}}"),
            Query(
                total("application, reason", rate(watched.SERVE_INGRESS_FAILURES)), "failed {{application}} {{reason}}"
            ),
        ),
        line(
            "Time to choose a replica",
            "Adds to time to first token.",
            Unit.MILLISECONDS,
            *spread(watched.SERVE_INGRESS_LATENCY, "application", "{{application}}"),
        ),
        line(
            "Routing tasks",
            "Of handles; in back-off while every replica refuses.",
            Unit.COUNT,
            Query(total(by, of(watched.SERVE_SCHEDULING_TASKS)), _DEPLOYMENT),
            Query(total(by, of(watched.SERVE_SCHEDULING_BACKOFF)), f"back-off {_DEPLOYMENT}"),
        ),
        line(
            "Serve's control loop",
            "Seconds of a loop; Serve is slow to start and stop replicas when it grows.",
            Unit.SECONDS,
            Query(f"max({of(watched.SERVE_LOOP_DURATION)})", "loop"),
        ),
        line(
            "Control loops",
            "Per second.",
            Unit.PER_SECOND,
            Query(f"max(deriv({of(watched.SERVE_LOOPS)}[$__rate_interval]))", "loops/s"),
        ),
        line(
            "HAProxy processes by node",
            "Old ones hold long streams after a reload.",
            Unit.COUNT,
            Query(of(watched.SERVE_HAPROXY_PROCESSES), "{{node_id}}"),
        ),
        line(
            "HAProxy out of step",
            "1 while HAProxy's servers are not Serve's replicas.",
            Unit.COUNT,
            Query(of(watched.SERVE_HAPROXY_MISMATCH), "{{node_id}}"),
        ),
        line(
            "Serve's own autoscaler",
            "Only where it is on; Foreserve refuses such a deployment.",
            Unit.COUNT,
            Query(of(watched.SERVE_OWN_DESIRED), f"desired {_DEPLOYMENT}"),
            Query(of(watched.SERVE_OWN_TOTAL), f"requests {_DEPLOYMENT}"),
        ),
    )
