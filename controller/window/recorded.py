"""Which samples the window keeps, and by which labels they are found again."""

from __future__ import annotations

from dataclasses import dataclass

from controller.catalog import scraped
from controller.catalog.metric import Kind, Metric

_BY_ENGINE_REPLICA = ("ReplicaId",)
_BY_REPLICA = ("replica",)
_BY_APPLICATION = ("application",)
_BY_PROXY = ("proxy",)

_FOUND_BY: tuple[tuple[Metric, tuple[str, ...]], ...] = (
    (scraped.VLLM_RUNNING, _BY_ENGINE_REPLICA),
    (scraped.VLLM_WAITING, _BY_ENGINE_REPLICA),
    (scraped.VLLM_KV_USAGE, _BY_ENGINE_REPLICA),
    (scraped.VLLM_PROMPT_TOKENS, _BY_ENGINE_REPLICA),
    (scraped.VLLM_GENERATION_TOKENS, _BY_ENGINE_REPLICA),
    (scraped.VLLM_REQUEST_SUCCESS, _BY_ENGINE_REPLICA),
    (scraped.VLLM_PREEMPTIONS, _BY_ENGINE_REPLICA),
    (scraped.VLLM_PREFIX_HITS, _BY_ENGINE_REPLICA),
    (scraped.VLLM_ITERATION_TOKENS, _BY_ENGINE_REPLICA),
    (scraped.VLLM_TTFT, _BY_ENGINE_REPLICA),
    (scraped.VLLM_ITL, _BY_ENGINE_REPLICA),
    (scraped.VLLM_TPOT, _BY_ENGINE_REPLICA),
    (scraped.VLLM_E2E, _BY_ENGINE_REPLICA),
    (scraped.SERVE_PROCESSING, _BY_REPLICA),
    (scraped.SERVE_REQUESTS, _BY_REPLICA),
    (scraped.SERVE_QUEUED_HANDLE, ("application", "deployment")),
    (scraped.SERVE_HTTP_REQUESTS, _BY_APPLICATION),
    (scraped.SERVE_HTTP_ERRORS, _BY_APPLICATION),
    (scraped.SERVE_STARTUP, ("application", "deployment")),
    (scraped.HAPROXY_SESSIONS, _BY_PROXY),
    (scraped.HAPROXY_QUEUE, _BY_PROXY),
    (scraped.HAPROXY_REQUESTS, _BY_PROXY),
    (scraped.HAPROXY_RESPONSES, _BY_PROXY),
    (scraped.HAPROXY_DENIED, _BY_PROXY),
    (scraped.HAPROXY_CONNECTION_ERRORS, _BY_PROXY),
)

_COUNTED_ONLY = frozenset({scraped.VLLM_ITERATION_TOKENS})
"""Histograms of which only the number of observations is kept."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """How one sample name is kept: ``found_by`` are the labels whose values lead to its series."""

    found_by: tuple[str, ...]
    counts: bool
    """A counter or a bucket: only ever grows within one process."""


def _sample_name(metric: Metric) -> str:
    if metric in _COUNTED_ONLY:
        return f"{metric.name}_count"
    return f"{metric.name}_bucket" if metric.kind is Kind.HISTOGRAM else metric.name


RECORDED: dict[str, Recorded] = {
    _sample_name(metric): Recorded(found_by=found_by, counts=metric.kind is not Kind.GAUGE)
    for metric, found_by in _FOUND_BY
}

READ: dict[str, Metric] = {
    name: metric
    for name, metric in scraped.BY_SAMPLE_NAME.items()
    if name in RECORDED or metric in {scraped.HAPROXY_START_TIME, scraped.SERVE_TARGET}
}
"""All that the controller asks its sources for: what is recorded, when a HAProxy started, and by what Ray is known.

Histograms are most of a page, so what is only for dashboards is left there.
"""
