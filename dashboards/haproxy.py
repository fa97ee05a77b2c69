"""Panels of HAProxy, the ingress."""

from __future__ import annotations

from controller.catalog import scraped, watched
from controller.catalog.promql import equals
from dashboards.panel import Panel, Query, Shape, Unit, line
from dashboards.query import of, rate, ratio, total


def haproxy_panels() -> tuple[Panel, ...]:
    """Return the panels of the ingress."""
    errors = total("proxy", rate(scraped.HAPROXY_RESPONSES, equals("code", "5xx")))
    responses = total("proxy", rate(scraped.HAPROXY_RESPONSES))
    return (
        line(
            "Sessions by backend",
            "Requests in flight. Counters restart at each reload; this gauge does not.",
            Unit.COUNT,
            Query(total("proxy", of(scraped.HAPROXY_SESSIONS)), "{{proxy}}"),
            Query(total("proxy", of(watched.HAPROXY_FRONTEND_SESSIONS, scoped=False)), "frontend {{proxy}}"),
        ),
        line(
            "Queue by backend",
            "Requests that wait in HAProxy for a server.",
            Unit.COUNT,
            Query(total("proxy", of(scraped.HAPROXY_QUEUE)), "{{proxy}}"),
        ),
        Panel(
            title="Responses by code",
            description="5xx made by HAProxy itself are counted here only.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(Query(total("proxy, code", rate(scraped.HAPROXY_RESPONSES)), "{{proxy}} {{code}}"),),
            shape=Shape.STACK,
            width=6,
        ),
        line("5xx share", "Good is 0.", Unit.SHARE, Query(ratio(errors, responses), "{{proxy}}")),
        line(
            "Retries and redispatches",
            "Servers that did not answer at once.",
            Unit.PER_SECOND,
            Query(total("proxy", rate(watched.HAPROXY_RETRIES)), "retries {{proxy}}"),
            Query(total("proxy", rate(watched.HAPROXY_REDISPATCHES)), "redispatches {{proxy}}"),
        ),
        line(
            "Connection and response errors",
            "Broken connections to replicas.",
            Unit.PER_SECOND,
            Query(total("proxy", rate(scraped.HAPROXY_CONNECTION_ERRORS)), "connection {{proxy}}"),
            Query(total("proxy", rate(watched.HAPROXY_RESPONSE_ERRORS)), "response {{proxy}}"),
            Query(total("proxy", rate(scraped.HAPROXY_DENIED)), "denied {{proxy}}"),
        ),
        line(
            "Aborts",
            "By the client: impatience or a short time-out. By the server: a dying replica.",
            Unit.PER_SECOND,
            Query(total("proxy", rate(watched.HAPROXY_CLIENT_ABORTS)), "client {{proxy}}"),
            Query(total("proxy", rate(watched.HAPROXY_SERVER_ABORTS)), "server {{proxy}}"),
        ),
        line(
            "Servers up",
            "Replicas that take traffic. The backup server is Serve's fallback proxy.",
            Unit.COUNT,
            Query(f"max by (proxy) ({of(scraped.HAPROXY_ACTIVE_SERVERS)})", "{{proxy}}"),
            Query(f"max by (proxy) ({of(watched.HAPROXY_BACKUP_SERVERS)})", "backup {{proxy}}"),
        ),
        line(
            "Times by backend",
            "Means of the last 1024 requests: queue, connect, first byte, whole.",
            Unit.SECONDS,
            Query(f"max by (proxy) ({of(watched.HAPROXY_QUEUE_TIME)})", "queue {{proxy}}"),
            Query(f"max by (proxy) ({of(watched.HAPROXY_CONNECT_TIME)})", "connect {{proxy}}"),
            Query(f"max by (proxy) ({of(watched.HAPROXY_RESPONSE_TIME)})", "response {{proxy}}"),
            Query(f"max by (proxy) ({of(watched.HAPROXY_TOTAL_TIME)})", "total {{proxy}}"),
        ),
        line(
            "Requests by backend",
            "What reached a backend, per second.",
            Unit.REQUESTS_PER_SECOND,
            Query(total("proxy", rate(scraped.HAPROXY_REQUESTS)), "{{proxy}}"),
            Query(total("proxy", rate(watched.HAPROXY_FRONTEND_REQUESTS, scoped=False)), "frontend {{proxy}}"),
        ),
        line(
            "Sessions by server",
            "Uneven lines mean uneven routing.",
            Unit.COUNT,
            Query(total("server", of(watched.HAPROXY_SERVER_SESSIONS)), "{{server}}"),
        ),
        line(
            "Bytes",
            "In and out.",
            Unit.BYTES_PER_SECOND,
            Query(total("proxy", rate(watched.HAPROXY_BYTES_IN)), "in {{proxy}}"),
            Query(total("proxy", rate(watched.HAPROXY_BYTES_OUT)), "out {{proxy}}"),
        ),
        line(
            "Servers down, failed checks",
            "Good is none.",
            Unit.COUNT,
            Query(total("proxy", of(watched.HAPROXY_SERVER_STATUS, equals("state", "DOWN"))), "down {{proxy}}"),
            Query(total("proxy", rate(watched.HAPROXY_CHECK_FAILURES)), "failed checks/s {{proxy}}"),
        ),
        line(
            "Reloads",
            "A reload at every change of the replicas; counters restart with it.",
            Unit.COUNT,
            Query(f"changes({of(scraped.HAPROXY_START_TIME)}[$__rate_interval])", "{{instance}}"),
        ),
        line(
            "Connections of the process",
            "Near the maximum HAProxy refuses clients.",
            Unit.COUNT,
            Query(of(watched.HAPROXY_CONNECTIONS), "{{instance}}"),
            Query(of(watched.HAPROXY_MAX_CONNECTIONS), "maximum {{instance}}"),
        ),
        line(
            "Idle time of the process",
            "Below 20 % HAProxy itself is the bottleneck.",
            Unit.PERCENT,
            Query(of(watched.HAPROXY_IDLE_TIME), "{{instance}}"),
        ),
    )
