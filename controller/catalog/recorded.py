"""Series that our recording rules make in Prometheus, for alerts and dashboards.

Names follow Prometheus' convention ``level:metric:operations``. ``slo`` is ``ttft``, ``itl`` or
``success``; a success objective holds for an application and has no deployment.
"""

from __future__ import annotations

from controller.catalog.metric import Kind, Metric, Origin

SLO_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""Windows over which burn rates are recorded."""

_DEPLOYMENT = ("cluster", "application", "deployment")
_SLO = (*_DEPLOYMENT, "slo")


def _recorded(name: str, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(name=name, kind=Kind.GAUGE, unit=unit, labels=labels, help=help_text, origin=Origin.RULES)


REPLICA_INFO = _recorded(
    "replica:serve_deployment:info",
    "info",
    "1 for each replica that lived within five minutes, with the label that vLLM's series carry.",
    *_DEPLOYMENT,
    "replica",
    "ReplicaId",
)
TTFT_BUCKET = _recorded(
    "deployment:vllm_ttft_bucket:rate5m", "requests/s", "First tokens by time to first token.", *_DEPLOYMENT, "le"
)
ITL_BUCKET = _recorded(
    "deployment:vllm_itl_bucket:rate5m", "tokens/s", "Output tokens by inter-token latency.", *_DEPLOYMENT, "le"
)
QUEUE_TIME_BUCKET = _recorded(
    "deployment:vllm_queue_time_bucket:rate5m", "requests/s", "Requests by time in the queue.", *_DEPLOYMENT, "le"
)
KV_USAGE = _recorded("deployment:vllm_kv_cache_usage:avg", "ratio", "KV cache in use, mean of replicas.", *_DEPLOYMENT)
HTTP_REQUESTS = _recorded(
    "application:http_requests:rate5m",
    "requests/s",
    "Requests finished, by who counted them.",
    "cluster",
    "application",
    "view",
)
HTTP_FAILURES = _recorded(
    "application:http_failures:rate5m",
    "requests/s",
    "Requests that the service failed or shed (5xx, 408), by who counted them.",
    "cluster",
    "application",
    "view",
)

SLO_OBJECTIVE = _recorded(
    "slo:objective:ratio", "ratio", "Promised share of good events.", "application", "deployment", "slo"
)
SLO_THRESHOLD = _recorded(
    "slo:threshold:seconds", "s", "Longest time that counts as good.", "application", "deployment", "slo"
)
SLO_EVENTS = _recorded("slo:events:rate5m", "events/s", "Events that an objective is about.", *_SLO)
SLO_BAD_EVENTS = _recorded("slo:bad_events:rate5m", "events/s", "Events that missed the objective.", *_SLO)
SLO_BURN: dict[str, Metric] = {
    window: _recorded(
        f"slo:burn:rate{window}", "budgets", f"Error budget burnt over {window}; 1 uses it up in the SLO window.", *_SLO
    )
    for window in SLO_WINDOWS
}
SLO_BUDGET_LEFT = _recorded("slo:budget_left:ratio30d", "ratio", "Error budget left of the last 30 days.", *_SLO)

RECORDED: tuple[Metric, ...] = (
    *(value for value in list(globals().values()) if isinstance(value, Metric)),
    *SLO_BURN.values(),
)
