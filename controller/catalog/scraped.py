"""Metrics read from Ray Serve, vLLM and HAProxy.

Names, labels and meanings hold for Ray 2.60, vLLM 0.29 and HAProxy 2.8; recorded scrapes in
``tests/data`` are the contract test, so that an upstream rename fails loudly.
"""

from __future__ import annotations

from controller.catalog.metric import Kind, Metric, Origin

_VLLM_LABELS = ("ReplicaId", "engine", "model_name")
_WORKER = ("WorkerId",)


def _vllm(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(
        name=f"ray_vllm_{name}",
        kind=kind,
        unit=unit,
        labels=(*_VLLM_LABELS, *labels),
        help=help_text,
        origin=Origin.RAY,
        identity=_WORKER,
    )


def _serve(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(
        name=f"ray_serve_{name}",
        kind=kind,
        unit=unit,
        labels=labels,
        help=help_text,
        origin=Origin.RAY,
        identity=_WORKER,
    )


def _haproxy(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(name=f"haproxy_{name}", kind=kind, unit=unit, labels=labels, help=help_text, origin=Origin.HAPROXY)


VLLM_RUNNING = _vllm(
    "num_requests_running", Kind.GAUGE, "requests", "Requests in the running batch; absent while idle."
)
VLLM_WAITING = _vllm(
    "num_requests_waiting", Kind.GAUGE, "requests", "Requests waiting in the engine; absent while idle."
)
VLLM_KV_USAGE = _vllm("kv_cache_usage_perc", Kind.GAUGE, "ratio", "KV cache in use, 0 to 1; absent while idle.")
VLLM_PROMPT_TOKENS = _vllm("prompt_tokens_total", Kind.COUNTER, "tokens", "Prompt tokens prefilled.")
VLLM_GENERATION_TOKENS = _vllm("generation_tokens_total", Kind.COUNTER, "tokens", "Output tokens generated.")
VLLM_REQUEST_SUCCESS = _vllm("request_success_total", Kind.COUNTER, "requests", "Requests finished.", "finished_reason")
VLLM_PREEMPTIONS = _vllm("num_preemptions_total", Kind.COUNTER, "requests", "Requests preempted for KV space.")
VLLM_PREFIX_QUERIES = _vllm("prefix_cache_queries_total", Kind.COUNTER, "tokens", "Prefix cache lookups.")
VLLM_PREFIX_HITS = _vllm("prefix_cache_hits_total", Kind.COUNTER, "tokens", "Prefix cache hits.")
VLLM_TTFT = _vllm("time_to_first_token_seconds", Kind.HISTOGRAM, "s", "Time to first token.")
VLLM_ITL = _vllm("inter_token_latency_seconds", Kind.HISTOGRAM, "s", "Time between two output tokens.")
VLLM_E2E = _vllm("e2e_request_latency_seconds", Kind.HISTOGRAM, "s", "Time from arrival at the engine to the end.")
VLLM_TPOT = _vllm(
    "request_time_per_output_token_seconds", Kind.HISTOGRAM, "s", "Mean time between two tokens of a finished request."
)
VLLM_ITERATION_TOKENS = _vllm(
    "iteration_tokens_total", Kind.HISTOGRAM, "tokens", "Tokens of an iteration; its count is that of iterations."
)
VLLM_QUEUE_TIME = _vllm("request_queue_time_seconds", Kind.HISTOGRAM, "s", "Time in the engine's waiting queue.")

SERVE_PROCESSING = _serve(
    "replica_processing_queries",
    Kind.GAUGE,
    "requests",
    "Requests inside a replica, the engine's waiting ones included.",
    "application",
    "deployment",
    "replica",
)
SERVE_ONGOING_HTTP = _serve("num_ongoing_http_requests", Kind.GAUGE, "requests", "HTTP requests in flight on a node.")
SERVE_QUEUED_HANDLE = _serve(
    "deployment_queued_queries",
    Kind.GAUGE,
    "requests",
    "Requests queued at handles; reads 0 under direct streaming.",
    "application",
    "deployment",
    "handle",
    "actor_id",
)
SERVE_REQUESTS = _serve(
    "deployment_request_counter_total",
    Kind.COUNTER,
    "requests",
    "Requests processed by a replica.",
    "application",
    "deployment",
    "replica",
    "route",
)
SERVE_DEPLOYMENT_ERRORS = _serve(
    "deployment_error_counter_total",
    Kind.COUNTER,
    "requests",
    "Requests that raised in a replica.",
    "application",
    "deployment",
    "replica",
    "route",
    "exception_type",
)
SERVE_HTTP_REQUESTS = _serve(
    "num_http_requests_total",
    Kind.COUNTER,
    "requests",
    "HTTP requests finished.",
    "application",
    "route",
    "method",
    "status_code",
)
SERVE_HTTP_ERRORS = _serve(
    "num_http_error_requests_total",
    Kind.COUNTER,
    "requests",
    "HTTP requests that failed; 503 is back-pressure, 499 a client that left.",
    "application",
    "route",
    "method",
    "error_code",
)
SERVE_TARGET = _serve(
    "autoscaling_target_replicas", Kind.GAUGE, "replicas", "Live replica target.", "application", "deployment"
)
SERVE_REPLICA_HEALTHY = _serve(
    "deployment_replica_healthy",
    Kind.GAUGE,
    "bool",
    "1 while a replica passes its health check.",
    "application",
    "deployment",
    "replica",
)
SERVE_STARTUP = _serve(
    "replica_startup_latency_ms",
    Kind.HISTOGRAM,
    "ms",
    "Replica creation to ready. Buckets are exact, the sum is rebuilt from bucket midpoints.",
    "application",
    "deployment",
)

HAPROXY_START_TIME = _haproxy(
    "process_start_time_seconds", Kind.GAUGE, "s", "When this process started; changes at every reload."
)
HAPROXY_SESSIONS = _haproxy(
    "backend_current_sessions", Kind.GAUGE, "sessions", "Requests in flight per backend.", "proxy"
)
HAPROXY_QUEUE = _haproxy("backend_current_queue", Kind.GAUGE, "requests", "Requests queued per backend.", "proxy")
HAPROXY_REQUESTS = _haproxy(
    "backend_http_requests_total", Kind.COUNTER, "requests", "Requests that reached a backend.", "proxy"
)
HAPROXY_RESPONSES = _haproxy(
    "backend_http_responses_total", Kind.COUNTER, "responses", "Responses per backend.", "proxy", "code"
)
HAPROXY_DENIED = _haproxy(
    "backend_requests_denied_total", Kind.COUNTER, "requests", "Requests denied per backend.", "proxy"
)
HAPROXY_CONNECTION_ERRORS = _haproxy(
    "backend_connection_errors_total", Kind.COUNTER, "requests", "Failed connections to servers.", "proxy"
)
HAPROXY_ACTIVE_SERVERS = _haproxy("backend_active_servers", Kind.GAUGE, "servers", "Servers up per backend.", "proxy")

SCRAPED: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))

BY_SAMPLE_NAME: dict[str, Metric] = {name: metric for metric in SCRAPED for name in metric.sample_names}
