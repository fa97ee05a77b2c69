"""Where requests spend their time: vLLM's engines, HAProxy, Ray Serve, the nodes."""

from __future__ import annotations

from typing import Any

from controller.catalog import scraped, watched
from dashboards.frame import dashboard
from dashboards.haproxy import haproxy_panels
from dashboards.haproxy_detail import haproxy_sections
from dashboards.nodes import node_panels
from dashboards.optional import optional_sections
from dashboards.panel import Panel, Query, Section, Shape, Unit, line
from dashboards.query import mean, of, rate, ratio, spread, total
from dashboards.ray_serve import replica_panels, routing_panels

_REPLICA = "{{model_name}} {{ReplicaId}}"
_BY_REPLICA = "model_name, ReplicaId"


def engine() -> Any:
    """Return the dashboard for the people who run the engines and the ingress."""
    return dashboard(
        uid="foreserve-engine",
        title="Foreserve / Engine & ingress",
        description="vLLM, HAProxy, Ray Serve and the nodes below: where requests wait, and what is full.",
        sections=(
            Section("vLLM: batches and caches", _batches()),
            Section("vLLM: where a request's time goes", _phases()),
            Section("HAProxy", haproxy_panels()),
            *haproxy_sections(),
            Section("Ray Serve: replicas", replica_panels()),
            Section("Ray Serve: routing and control", routing_panels(), collapsed=True),
            Section("Nodes and GPUs", node_panels()),
            *optional_sections(),
        ),
    )


def _batches() -> tuple[Panel, ...]:
    hits = total("model_name", rate(scraped.VLLM_PREFIX_HITS))
    lookups = total("model_name", rate(scraped.VLLM_PREFIX_QUERIES))
    return (
        line(
            "Running requests",
            "Requests in each engine's batch. No line: the engine is idle.",
            Unit.COUNT,
            Query(total(_BY_REPLICA, of(scraped.VLLM_RUNNING)), _REPLICA),
        ),
        line(
            "Waiting requests",
            "Requests in each engine's queue. A standing queue means too few replicas.",
            Unit.COUNT,
            Query(total(_BY_REPLICA, of(scraped.VLLM_WAITING)), _REPLICA),
        ),
        line(
            "Waiting by reason",
            "capacity: no room in the batch or cache. deferred: held back for another reason.",
            Unit.COUNT,
            Query(total("model_name, reason", of(watched.VLLM_WAITING_BY_REASON)), "{{model_name}} {{reason}}"),
        ),
        Panel(
            title="KV cache in use",
            description="Near 100 % vLLM preempts requests and computes them again.",
            unit=Unit.SHARE,
            queries=(Query(f"max by ({_BY_REPLICA}) ({of(scraped.VLLM_KV_USAGE)})", _REPLICA),),
            width=6,
            maximum=1,
            thresholds=((0.95, "red"),),
        ),
        line(
            "Preemptions",
            "Running requests thrown out for cache space, per second. Good is none.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(scraped.VLLM_PREEMPTIONS)), _REPLICA),
        ),
        line(
            "Prefix cache hits",
            "Share of prompt tokens that need no prefill, by model and by replica.",
            Unit.SHARE,
            Query(ratio(hits, lookups), "{{model_name}}"),
            Query(
                ratio(
                    total(_BY_REPLICA, rate(scraped.VLLM_PREFIX_HITS)),
                    total(_BY_REPLICA, rate(scraped.VLLM_PREFIX_QUERIES)),
                ),
                _REPLICA,
            ),
        ),
        line(
            "Prompt tokens by source",
            "Where the KV of prompt tokens came from.",
            Unit.PER_SECOND,
            Query(total("model_name, source", rate(watched.VLLM_PROMPT_TOKENS_BY_SOURCE)), "{{model_name}} {{source}}"),
        ),
        line(
            "Tokens per second",
            "Prefill and decode throughput of each replica.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(scraped.VLLM_PROMPT_TOKENS)), f"prompt {_REPLICA}"),
            Query(total(_BY_REPLICA, rate(scraped.VLLM_GENERATION_TOKENS)), f"output {_REPLICA}"),
        ),
        line(
            "Engine iterations",
            "Steps of each engine per second; their length bounds inter-token latency.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(scraped.VLLM_ITERATION_TOKENS, sample="count")), _REPLICA),
        ),
        line(
            "Tokens per iteration",
            "How full steps are; the engine's limit is max_num_batched_tokens.",
            Unit.COUNT,
            Query(mean(scraped.VLLM_ITERATION_TOKENS, _BY_REPLICA), _REPLICA),
        ),
        Panel(
            title="Finished requests by reason",
            description="stop and length are good ends; abort is a client that left.",
            unit=Unit.REQUESTS_PER_SECOND,
            queries=(Query(total("finished_reason", rate(scraped.VLLM_REQUEST_SUCCESS)), "{{finished_reason}}"),),
            shape=Shape.STACK,
            width=6,
        ),
        line(
            "Requests by replica",
            "Uneven lines mean uneven routing.",
            Unit.REQUESTS_PER_SECOND,
            Query(total(_BY_REPLICA, rate(scraped.VLLM_REQUEST_SUCCESS)), _REPLICA),
        ),
    )


def _phases() -> tuple[Panel, ...]:
    model = "model_name"
    legend = "{{model_name}}"
    return (
        line(
            "Queue time",
            "Waiting for a place in the batch.",
            Unit.SECONDS,
            *spread(scraped.VLLM_QUEUE_TIME, model, legend),
        ),
        line("Prefill time", "Reading the prompt.", Unit.SECONDS, *spread(watched.VLLM_PREFILL_TIME, model, legend)),
        line("Decode time", "Writing the answer.", Unit.SECONDS, *spread(watched.VLLM_DECODE_TIME, model, legend)),
        line(
            "Inference time",
            "In the batch, all in all.",
            Unit.SECONDS,
            *spread(watched.VLLM_INFERENCE_TIME, model, legend),
        ),
        line("Prompt length", "Tokens.", Unit.COUNT, *spread(watched.VLLM_REQUEST_PROMPT_TOKENS, model, legend)),
        line("Output length", "Tokens.", Unit.COUNT, *spread(watched.VLLM_REQUEST_OUTPUT_TOKENS, model, legend)),
        line(
            "Allowed output length",
            "max_tokens of requests.",
            Unit.COUNT,
            *spread(watched.VLLM_REQUEST_MAX_TOKENS, model, legend),
        ),
        line(
            "Prompt tokens that were computed",
            "Of a request; the rest of its prompt was in a cache.",
            Unit.COUNT,
            *spread(watched.VLLM_REQUEST_COMPUTED_TOKENS, model, legend),
        ),
        line(
            "Longest of a request's answers",
            "Tokens; as the output length where requests ask for one answer (n = 1).",
            Unit.COUNT,
            *spread(watched.VLLM_REQUEST_LONGEST_OUTPUT, model, legend),
        ),
        line(
            "Time to first token by replica",
            "A slow replica stands out.",
            Unit.SECONDS,
            *spread(scraped.VLLM_TTFT, _BY_REPLICA, _REPLICA),
        ),
    )
