"""What HAProxy 2.8 tells beside what ``scraped`` and ``watched`` have; dashboards show it to those who look deeper."""

from __future__ import annotations

from controller.catalog.metric import Kind, Metric, Origin

_C, _G = Kind.COUNTER, Kind.GAUGE
_Row = tuple[str, Kind, str, str]

_ERRORS: tuple[_Row, ...] = (
    ("responses_denied_total", _C, "responses", "Responses denied."),
    ("internal_errors_total", _C, "errors", "Errors of HAProxy itself."),
    ("failed_header_rewriting_total", _C, "errors", "Headers that could not be rewritten."),
)
_HIGHEST: tuple[_Row, ...] = (
    ("max_queue_time_seconds", _G, "s", "Longest time in queue since the last reload."),
    ("max_connect_time_seconds", _G, "s", "Longest time to connect since the last reload."),
    ("max_response_time_seconds", _G, "s", "Longest time to the response's head since the last reload."),
    ("max_total_time_seconds", _G, "s", "Longest request since the last reload."),
    ("max_session_rate", _G, "sessions/s", "Highest rate of sessions since the last reload."),
    ("max_sessions", _G, "sessions", "Most sessions at once since the last reload."),
    ("max_queue", _G, "requests", "Longest queue since the last reload."),
)
_UPSTREAM: tuple[_Row, ...] = (
    ("connection_attempts_total", _C, "connections", "Connections to servers that were tried."),
    ("connection_reuses_total", _C, "requests", "Requests on a connection that was open already."),
    ("sessions_total", _C, "sessions", "Sessions."),
    ("check_up_down_total", _C, "changes", "Times it went down by its health checks."),
    ("last_session_seconds", _G, "s", "Since the last request; -1 before the first."),
    ("weight", _G, "weight", "Share of the load, as it is now."),
    ("uweight", _G, "weight", "Share of the load, as configured."),
)


def _family(part: str, labels: tuple[str, ...], *rows: _Row) -> dict[str, Metric]:
    return {
        name: Metric(
            name=f"haproxy_{part}_{name}", kind=kind, unit=unit, labels=labels, help=text, origin=Origin.HAPROXY
        )
        for name, kind, unit, text in rows
    }


FRONTEND = _family(
    "frontend",
    ("proxy",),
    ("connections_total", _C, "connections", "Connections of clients."),
    ("denied_connections_total", _C, "connections", "Connections of clients that were denied."),
    ("sessions_total", _C, "sessions", "Sessions of clients."),
    ("denied_sessions_total", _C, "sessions", "Sessions of clients that were denied."),
    ("requests_denied_total", _C, "requests", "Requests denied."),
    ("request_errors_total", _C, "requests", "Requests that were malformed or broke off."),
    ("bytes_in_total", _C, "bytes", "Bytes of requests."),
    ("bytes_out_total", _C, "bytes", "Bytes of responses."),
    ("max_sessions", _G, "sessions", "Most sessions at once since the last reload."),
    ("limit_sessions", _G, "sessions", "Most sessions at once that are allowed."),
    ("max_session_rate", _G, "sessions/s", "Highest rate of sessions since the last reload."),
    ("limit_session_rate", _G, "sessions/s", "Highest rate of sessions that is allowed; 0: any."),
    ("http_requests_rate_max", _G, "requests/s", "Highest rate of requests since the last reload."),
    ("connections_rate_max", _G, "connections/s", "Highest rate of connections since the last reload."),
    *_ERRORS,
) | {
    "http_responses_total": Metric(
        name="haproxy_frontend_http_responses_total",
        kind=_C,
        unit="responses",
        labels=("proxy", "code"),
        help="Responses to clients.",
        origin=Origin.HAPROXY,
    ),
    "status": Metric(
        name="haproxy_frontend_status",
        kind=_G,
        unit="bool",
        labels=("proxy", "state"),
        help="1 for the state that a frontend is in.",
        origin=Origin.HAPROXY,
    ),
}

BACKEND = _family(
    "backend",
    ("proxy",),
    ("limit_sessions", _G, "sessions", "Most sessions at once that are allowed."),
    *_UPSTREAM,
    *_HIGHEST,
    *_ERRORS,
) | {
    "status": Metric(
        name="haproxy_backend_status",
        kind=_G,
        unit="bool",
        labels=("proxy", "state"),
        help="1 for the state that a backend is in.",
        origin=Origin.HAPROXY,
    ),
}

SERVER = _family(
    "server",
    ("proxy", "server"),
    ("bytes_in_total", _C, "bytes", "Bytes of requests."),
    ("bytes_out_total", _C, "bytes", "Bytes of responses."),
    ("connection_errors_total", _C, "connections", "Connections that failed."),
    ("response_errors_total", _C, "responses", "Responses that broke off."),
    ("retry_warnings_total", _C, "retries", "Connections tried again."),
    ("redispatch_warnings_total", _C, "requests", "Requests sent to another server."),
    ("client_aborts_total", _C, "requests", "Clients that left."),
    ("server_aborts_total", _C, "requests", "Times the server left."),
    ("current_queue", _G, "requests", "Requests that wait for this server."),
    ("used_connections_current", _G, "connections", "Connections in use."),
    ("idle_connections_current", _G, "connections", "Open connections that may be used again."),
    ("safe_idle_connections_current", _G, "connections", "Of these, those that any request may use."),
    ("unsafe_idle_connections_current", _G, "connections", "Of these, those for repeated requests only."),
    ("queue_time_average_seconds", _G, "s", "Time in queue, mean of the last 1024 requests."),
    ("connect_time_average_seconds", _G, "s", "Time to connect, mean of the last 1024 requests."),
    ("response_time_average_seconds", _G, "s", "Time to the response's head, mean of the last 1024."),
    ("total_time_average_seconds", _G, "s", "Time of a request, mean of the last 1024."),
    ("check_duration_seconds", _G, "s", "Length of the last health check."),
    *_UPSTREAM,
    *_HIGHEST,
    *_ERRORS,
) | {
    "http_responses_total": Metric(
        name="haproxy_server_http_responses_total",
        kind=_C,
        unit="responses",
        labels=("proxy", "server", "code"),
        help="Responses of a server.",
        origin=Origin.HAPROXY,
    ),
}

PROCESS = _family(
    "process",
    (),
    ("current_session_rate", _G, "sessions/s", "Sessions of the last second."),
    ("max_session_rate", _G, "sessions/s", "Highest rate of sessions so far."),
    ("limit_session_rate", _G, "sessions/s", "Highest rate of sessions that is allowed; 0: any."),
    ("current_connection_rate", _G, "connections/s", "Connections of the last second."),
    ("max_connection_rate", _G, "connections/s", "Highest rate of connections so far."),
    ("limit_connection_rate", _G, "connections/s", "Highest rate of connections that is allowed; 0: any."),
    ("connections_total", _C, "connections", "Connections."),
    ("requests_total", _C, "requests", "Requests."),
    ("hard_max_connections", _G, "connections", "Most connections, as it was started."),
    ("max_sockets", _G, "sockets", "Most open sockets."),
    ("max_fds", _G, "files", "Most open files."),
    ("pool_allocated_bytes", _G, "bytes", "Memory in pools."),
    ("pool_used_bytes", _G, "bytes", "Memory in pools that is in use."),
    ("max_memory_bytes", _G, "bytes", "Most memory that is allowed; 0: any."),
    ("pool_failures_total", _C, "failures", "Memory that could not be had."),
    ("dropped_logs_total", _C, "messages", "Log messages that were lost."),
    ("recv_logs_total", _C, "messages", "Log messages that were taken in to be forwarded."),
    ("failed_resolutions", _G, "failures", "Names that were not resolved."),
    ("current_tasks", _G, "tasks", "Tasks."),
    ("current_run_queue", _G, "tasks", "Tasks that wait for a processor."),
    ("stopping", _G, "bool", "1 while it ends its last requests, after a reload."),
    ("nbthread", _G, "threads", "Threads."),
    ("nbproc", _G, "processes", "Processes."),
    ("jobs", _G, "jobs", "Listeners, sessions and open devices."),
    ("unstoppable_jobs", _G, "jobs", "Jobs that outlive a soft stop."),
    ("listeners", _G, "listeners", "Listeners."),
    ("max_pipes", _G, "pipes", "Most pipes."),
    ("pipes_used_total", _C, "pipes", "Pipes in use."),
    ("pipes_free_total", _C, "pipes", "Pipes not in use."),
    ("active_peers", _G, "peers", "Peers that were checked."),
    ("connected_peers", _G, "peers", "Peers that are connected."),
    ("bytes_out_total", _C, "bytes", "Bytes sent."),
    ("spliced_bytes_out_total", _C, "bytes", "Bytes sent through a pipe of the kernel."),
    ("uptime_seconds", _G, "s", "Since it was started."),
)

HAPROXY_DETAIL: tuple[Metric, ...] = (*FRONTEND.values(), *BACKEND.values(), *SERVER.values(), *PROCESS.values())
