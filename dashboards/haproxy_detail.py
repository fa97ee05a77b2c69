"""Closed rows with all else that HAProxy tells: frontends and backends, servers, the process."""

from __future__ import annotations

from controller.catalog import watched
from controller.catalog.haproxy import BACKEND, FRONTEND, PROCESS, SERVER
from controller.catalog.metric import Kind, Metric
from controller.catalog.promql import equals
from dashboards.panel import Panel, Query, Section, Unit, line
from dashboards.query import of, rate, total

_PROXY, _SERVER, _PROCESS = "{{proxy}}", "{{proxy}} {{server}}", "{{instance}}"


def haproxy_sections() -> tuple[Section, ...]:
    """Return the rows below the panels of the ingress."""
    return (
        Section("HAProxy: frontends and backends", _proxies(), collapsed=True),
        Section("HAProxy: servers", _servers(), collapsed=True),
        Section("HAProxy: process", _process(), collapsed=True),
    )


def _front(*names: str) -> tuple[Query, ...]:
    return tuple(_query(FRONTEND[name], "proxy", f"frontend {_words(name)} {_PROXY}", scoped=False) for name in names)


def _back(*names: str) -> tuple[Query, ...]:
    return tuple(_query(BACKEND[name], "proxy", f"{_words(name)} {_PROXY}") for name in names)


def _server(*names: str) -> tuple[Query, ...]:
    return tuple(_query(SERVER[name], "proxy, server", f"{_words(name)} {_SERVER}") for name in names)


def _own(*names: str) -> tuple[Query, ...]:
    return tuple(_query(PROCESS[name], "instance", f"{_words(name)} {_PROCESS}") for name in names)


def _query(metric: Metric, by: str, legend: str, *, scoped: bool = True) -> Query:
    """Counters as sums per second; of gauges the largest, because several processes show each during a reload."""
    if metric.kind is Kind.COUNTER:
        return Query(total(by, rate(metric, scoped=scoped)), legend)
    return Query(f"max by ({by}) ({of(metric, scoped=scoped)})", legend)


def _words(name: str) -> str:
    return name.removesuffix("_total").removesuffix("_seconds").removesuffix("_bytes").replace("_", " ")


def _proxies() -> tuple[Panel, ...]:
    codes = total("proxy, code", rate(FRONTEND["http_responses_total"], scoped=False))
    up = equals("state", "UP")
    return (
        line(
            "Connections",
            "Of clients, and to servers; most requests should reuse one.",
            Unit.PER_SECOND,
            *_front("connections_total", "denied_connections_total"),
            *_back("connection_attempts_total", "connection_reuses_total"),
        ),
        line(
            "Sessions per second",
            "A session is a request, or a connection that has not sent one yet.",
            Unit.PER_SECOND,
            *_front("sessions_total", "denied_sessions_total"),
            *_back("sessions_total"),
        ),
        line("Bytes of frontends", "In and out.", Unit.BYTES_PER_SECOND, *_front("bytes_in_total", "bytes_out_total")),
        line("Responses of frontends by code", "To clients.", Unit.PER_SECOND, Query(codes, "{{proxy}} {{code}}")),
        line(
            "Refused and malformed",
            "Requests and responses that rules denied, requests that could not be read.",
            Unit.PER_SECOND,
            *_front("requests_denied_total", "request_errors_total", "responses_denied_total"),
            *_back("responses_denied_total"),
        ),
        line(
            "Internal errors",
            "Of HAProxy itself. Good is none.",
            Unit.PER_SECOND,
            *_front("internal_errors_total", "failed_header_rewriting_total"),
            *_back("internal_errors_total", "failed_header_rewriting_total"),
        ),
        line(
            "Most sessions and longest queue",
            "Since the last reload, and what is allowed.",
            Unit.COUNT,
            *_front("max_sessions", "limit_sessions"),
            *_back("max_sessions", "limit_sessions", "max_queue"),
        ),
        line(
            "Highest rates",
            "Since the last reload, and what is allowed (0: anything).",
            Unit.PER_SECOND,
            *_front("max_session_rate", "limit_session_rate", "http_requests_rate_max", "connections_rate_max"),
            *_back("max_session_rate"),
        ),
        line(
            "Longest times by backend",
            "Since the last reload.",
            Unit.SECONDS,
            *_back(
                "max_queue_time_seconds",
                "max_connect_time_seconds",
                "max_response_time_seconds",
                "max_total_time_seconds",
            ),
        ),
        line(
            "Frontends and backends up",
            "1 for each that is up.",
            Unit.COUNT,
            Query(f"max by (proxy) ({of(FRONTEND['status'], up, scoped=False)})", f"frontend {_PROXY}"),
            Query(f"max by (proxy) ({of(BACKEND['status'], up)})", _PROXY),
        ),
        line("Backends going down", "By health checks, per second.", Unit.PER_SECOND, *_back("check_up_down_total")),
        line("Weights of backends", "Now, and as configured.", Unit.COUNT, *_back("weight", "uweight")),
        line(
            "Since the last request",
            "Of each backend; -1 before the first.",
            Unit.SECONDS,
            *_back("last_session_seconds"),
            minimum=None,
        ),
    )


def _servers() -> tuple[Panel, ...]:
    codes = total("proxy, server, code", rate(SERVER["http_responses_total"]))
    states = f"max by (proxy, server, state) ({of(watched.HAPROXY_SERVER_STATUS)}) > 0"
    return (
        line(
            "Responses by server and code",
            "5xx of one server only: that replica is ill.",
            Unit.PER_SECOND,
            Query(codes, f"{_SERVER} {{{{code}}}}"),
        ),
        line("State by server", "1 for the state it is in.", Unit.COUNT, Query(states, f"{_SERVER} {{{{state}}}}")),
        line("Bytes by server", "In and out.", Unit.BYTES_PER_SECOND, *_server("bytes_in_total", "bytes_out_total")),
        line(
            "Connections by server",
            "Tried, failed, and spared because one was open.",
            Unit.PER_SECOND,
            *_server("connection_attempts_total", "connection_errors_total", "connection_reuses_total"),
        ),
        line(
            "Open connections by server",
            "In use, and kept for later.",
            Unit.COUNT,
            *_server(
                "used_connections_current",
                "idle_connections_current",
                "safe_idle_connections_current",
                "unsafe_idle_connections_current",
            ),
        ),
        line(
            "Errors by server",
            "Broken responses, repeated and redirected requests, errors of HAProxy's own. Good is none.",
            Unit.PER_SECOND,
            *_server(
                "response_errors_total",
                "retry_warnings_total",
                "redispatch_warnings_total",
                "responses_denied_total",
                "internal_errors_total",
                "failed_header_rewriting_total",
            ),
        ),
        line(
            "Aborts by server",
            "By the client, by the server.",
            Unit.PER_SECOND,
            *_server("client_aborts_total", "server_aborts_total"),
        ),
        line(
            "Queue by server",
            "Now, and the longest since the last reload.",
            Unit.COUNT,
            *_server("current_queue", "max_queue"),
        ),
        line(
            "Times by server",
            "Means of the last 1024 requests.",
            Unit.SECONDS,
            *_server(
                "queue_time_average_seconds",
                "connect_time_average_seconds",
                "response_time_average_seconds",
                "total_time_average_seconds",
            ),
        ),
        line(
            "Longest times by server",
            "Since the last reload.",
            Unit.SECONDS,
            *_server(
                "max_queue_time_seconds",
                "max_connect_time_seconds",
                "max_response_time_seconds",
                "max_total_time_seconds",
            ),
        ),
        line(
            "Sessions per second by server",
            "And the highest since the last reload.",
            Unit.PER_SECOND,
            *_server("sessions_total", "max_session_rate"),
        ),
        line("Most sessions by server", "At once, since the last reload.", Unit.COUNT, *_server("max_sessions")),
        line(
            "Checks by server",
            "Failed ones, and times they took a server down, per second.",
            Unit.PER_SECOND,
            Query(total("proxy, server", rate(watched.HAPROXY_CHECK_FAILURES)), f"check failures {_SERVER}"),
            *_server("check_up_down_total"),
        ),
        line("Length of checks by server", "Of the last one.", Unit.SECONDS, *_server("check_duration_seconds")),
        line("Weights of servers", "Now, and as configured.", Unit.COUNT, *_server("weight", "uweight")),
        line(
            "Since the last request by server",
            "-1 before the first. A replica that gets none is forgotten.",
            Unit.SECONDS,
            *_server("last_session_seconds"),
            minimum=None,
        ),
    )


def _process() -> tuple[Panel, ...]:
    return (
        line(
            "Sessions per second of the process",
            "Now, the highest so far, and what is allowed (0: anything).",
            Unit.PER_SECOND,
            *_own("current_session_rate", "max_session_rate", "limit_session_rate"),
        ),
        line(
            "Connections per second of the process",
            "Now, the highest so far, and what is allowed (0: anything).",
            Unit.PER_SECOND,
            *_own("current_connection_rate", "max_connection_rate", "limit_connection_rate"),
        ),
        line(
            "Connections and requests of the process",
            "Of everything, health checks and metrics included.",
            Unit.PER_SECOND,
            *_own("connections_total", "requests_total"),
        ),
        line(
            "Most connections, sockets and files",
            "That the process may open.",
            Unit.COUNT,
            *_own("hard_max_connections", "max_sockets", "max_fds"),
        ),
        line(
            "Memory of the process",
            "In pools, and what is allowed (0: anything).",
            Unit.BYTES,
            *_own("pool_allocated_bytes", "pool_used_bytes", "max_memory_bytes"),
        ),
        line(
            "Failures of the process",
            "Memory that could not be had, lost and forwarded log messages. Good is none.",
            Unit.PER_SECOND,
            *_own("pool_failures_total", "dropped_logs_total", "recv_logs_total"),
        ),
        line("Names not resolved", "So far.", Unit.COUNT, *_own("failed_resolutions")),
        line(
            "Tasks of the process",
            "A standing run queue means that HAProxy needs more threads.",
            Unit.COUNT,
            *_own("current_tasks", "current_run_queue", "stopping"),
        ),
        line("Threads and processes", "As configured.", Unit.COUNT, *_own("nbthread", "nbproc")),
        line(
            "Jobs and listeners", "Sessions are jobs, too.", Unit.COUNT, *_own("jobs", "unstoppable_jobs", "listeners")
        ),
        line(
            "Pipes",
            "For data that the kernel moves: taken into use and given back, per second, and the most.",
            Unit.COUNT,
            *_own("pipes_used_total", "pipes_free_total", "max_pipes"),
        ),
        line("Peers", "Serve's HAProxy has none.", Unit.COUNT, *_own("active_peers", "connected_peers")),
        line(
            "Bytes out of the process",
            "All, and through pipes of the kernel.",
            Unit.BYTES_PER_SECOND,
            *_own("bytes_out_total", "spliced_bytes_out_total"),
        ),
        line("Running for", "Restarts at each reload.", Unit.SECONDS, *_own("uptime_seconds")),
    )
