"""Rows for what not every service has: several models on a replica, KV transfer and offload, gRPC; and long spans."""

from __future__ import annotations

from controller.catalog import scraped, watched
from controller.catalog.metric import Metric
from dashboards.panel import Panel, Query, Section, Shape, Unit, line
from dashboards.query import mean, of, quantile, rate, ratio, spread, total

_REPLICA = "{{model_name}} {{ReplicaId}}"
_BY_REPLICA = "model_name, ReplicaId"
_SERVE_REPLICA = "{{application}}/{{deployment}} {{replica}}"
_BY_SERVE_REPLICA = "application, deployment, replica"


def optional_sections() -> tuple[Section, ...]:
    """Return the collapsed rows of the engine dashboard."""
    return (
        Section("Tokens and requests over days", _days(), collapsed=True),
        Section("Multiplexed models (LoRA adapters)", _multiplexed(), collapsed=True),
        Section("KV transfer between prefill and decode engines (NIXL)", _transfer(), collapsed=True),
        Section("KV cache offload and reload", _offload(), collapsed=True),
        Section("KV blocks and media (needs --kv-cache-metrics, or a model for media)", _blocks(), collapsed=True),
        Section("Speculative decoding", _speculative(), collapsed=True),
        Section("gRPC", _grpc(), collapsed=True),
    )


def _increase(metric: Metric, over: str) -> str:
    return total("model_name", f"increase({of(metric)}[{over}])")


def _days() -> tuple[Panel, ...]:
    panels = []
    for over, name in (("1h", "hour"), ("1d", "day"), ("7d", "week")):
        prompt, output = _increase(scraped.VLLM_PROMPT_TOKENS, over), _increase(scraped.VLLM_GENERATION_TOKENS, over)
        requests = _increase(scraped.VLLM_REQUEST_SUCCESS, over)
        panels += [
            _number(
                f"Tokens, last {name}",
                "By model.",
                Query(prompt, "prompt {{model_name}}"),
                Query(output, "output {{model_name}}"),
            ),
            _number(f"Requests, last {name}", "Finished, by model.", Query(requests, "{{model_name}}")),
            _number(
                f"Tokens per request, last {name}",
                "Prompt and output, by model.",
                Query(ratio(prompt, requests), "prompt {{model_name}}"),
                Query(ratio(output, requests), "output {{model_name}}"),
            ),
            _number(
                f"Prompt tokens per output token, last {name}",
                "By model.",
                Query(ratio(prompt, output), "{{model_name}}"),
            ),
        ]
    peak = f"max_over_time({total('model_name', f'rate({of(scraped.VLLM_GENERATION_TOKENS)}[2m])')}[1d:1m])"
    return (
        *panels,
        _number(
            "Peak output tokens per second, last day", "By model, over two minutes.", Query(peak, "{{model_name}}")
        ),
    )


def _number(title: str, description: str, *queries: Query) -> Panel:
    return Panel(
        title=title, description=description, unit=Unit.COUNT, queries=queries, shape=Shape.NUMBERS, width=6, height=5
    )


def _multiplexed() -> tuple[Panel, ...]:
    loads, gets = total("", rate(watched.SERVE_MULTIPLEX_LOADS)), total("", rate(watched.SERVE_MULTIPLEX_GETS))
    return (
        line(
            "Models per replica",
            "Loaded now.",
            Unit.COUNT,
            Query(total(_BY_SERVE_REPLICA, of(watched.SERVE_MULTIPLEXED)), _SERVE_REPLICA),
        ),
        line(
            "Loads and unloads",
            "Per second. Many mean that models do not fit.",
            Unit.PER_SECOND,
            Query(total(_BY_SERVE_REPLICA, rate(watched.SERVE_MULTIPLEX_LOADS)), f"load {_SERVE_REPLICA}"),
            Query(total(_BY_SERVE_REPLICA, rate(watched.SERVE_MULTIPLEX_UNLOADS)), f"unload {_SERVE_REPLICA}"),
        ),
        line(
            "Time to load (p99)",
            "Adds to time to first token.",
            Unit.MILLISECONDS,
            Query(quantile(0.99, watched.SERVE_MULTIPLEX_LOAD_TIME, _BY_SERVE_REPLICA), _SERVE_REPLICA),
        ),
        line(
            "Time to unload (p99)",
            "Frees the place for another.",
            Unit.MILLISECONDS,
            Query(quantile(0.99, watched.SERVE_MULTIPLEX_UNLOAD_TIME, _BY_SERVE_REPLICA), _SERVE_REPLICA),
        ),
        line(
            "Hit rate",
            "Share of requests whose model was loaded.",
            Unit.SHARE,
            Query(f"1 - {ratio(loads, gets)}", "hits"),
        ),
        line(
            "Which model is where",
            "1 for each.",
            Unit.COUNT,
            Query(of(watched.SERVE_MULTIPLEX_IDS), f"{_SERVE_REPLICA} {{{{model_id}}}}"),
        ),
    )


def _transfer() -> tuple[Panel, ...]:
    seconds = total(_BY_REPLICA, rate(watched.VLLM_NIXL_TRANSFER_TIME, sample="sum"))
    transfers = total(_BY_REPLICA, rate(watched.VLLM_NIXL_TRANSFER_TIME, sample="count"))
    moved = total(_BY_REPLICA, rate(watched.VLLM_NIXL_BYTES, sample="sum"))
    posted = total(_BY_REPLICA, rate(watched.VLLM_NIXL_POST_TIME, sample="sum"))
    posts = total(_BY_REPLICA, rate(watched.VLLM_NIXL_POST_TIME, sample="count"))
    return (
        line("Transfer time", "Mean.", Unit.SECONDS, Query(ratio(seconds, transfers), _REPLICA)),
        line(
            "Transfer throughput",
            "Bytes per second of transfer.",
            Unit.BYTES_PER_SECOND,
            Query(ratio(moved, seconds), _REPLICA),
        ),
        line("Transfers", "Per second.", Unit.PER_SECOND, Query(transfers, _REPLICA)),
        line("Time to post", "Mean.", Unit.SECONDS, Query(ratio(posted, posts), _REPLICA)),
        line(
            "Failed transfers",
            "Per second. Good is none.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(watched.VLLM_NIXL_FAILED)), _REPLICA),
            Query(total(_BY_REPLICA, rate(watched.VLLM_NIXL_UNNOTIFIED)), f"not notified {_REPLICA}"),
        ),
        line("Size of a transfer", "Bytes.", Unit.BYTES, *spread(watched.VLLM_NIXL_BYTES, _BY_REPLICA, _REPLICA)),
        line(
            "Descriptors of a transfer",
            "Many small ones make a transfer slow.",
            Unit.COUNT,
            *spread(watched.VLLM_NIXL_DESCRIPTORS, _BY_REPLICA, _REPLICA),
        ),
        line(
            "Expired requests",
            "Whose KV nobody fetched in time.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(watched.VLLM_NIXL_EXPIRED)), _REPLICA),
        ),
    )


def _offload() -> tuple[Panel, ...]:
    stored, loaded = (
        total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_STORED)),
        total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_LOADED)),
    )
    outside_hits, outside_lookups = (
        total("model_name", rate(watched.VLLM_EXTERNAL_PREFIX_HITS)),
        total("model_name", rate(watched.VLLM_EXTERNAL_PREFIX_QUERIES)),
    )
    hits, lookups = (
        total("model_name", rate(scraped.VLLM_PREFIX_HITS)),
        total("model_name", rate(scraped.VLLM_PREFIX_QUERIES)),
    )
    return (
        line(
            "Stored and reloaded",
            "Bytes per second.",
            Unit.BYTES_PER_SECOND,
            Query(stored, f"stored {_REPLICA}"),
            Query(loaded, f"reloaded {_REPLICA}"),
        ),
        line(
            "Operations",
            "Per second.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_STORE_SIZE, sample="count")), f"stores {_REPLICA}"),
            Query(total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_LOAD_SIZE, sample="count")), f"loads {_REPLICA}"),
        ),
        line(
            "Bandwidth",
            "Bytes per second spent on it.",
            Unit.BYTES_PER_SECOND,
            Query(ratio(stored, total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_STORE_TIME))), f"store {_REPLICA}"),
            Query(ratio(loaded, total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_LOAD_TIME))), f"load {_REPLICA}"),
        ),
        line(
            "CPU cache in use",
            "Share, and what of it transfers hold just now.",
            Unit.SHARE,
            Query(total(_BY_REPLICA, of(watched.VLLM_OFFLOAD_CPU_USAGE)), _REPLICA),
            Query(total(_BY_REPLICA, of(watched.VLLM_OFFLOAD_CPU_WRITING)), f"stores {_REPLICA}"),
            Query(total(_BY_REPLICA, of(watched.VLLM_OFFLOAD_CPU_READING)), f"loads {_REPLICA}"),
        ),
        line(
            "Outside prefix hits",
            "Share of lookups in a cache outside the engine.",
            Unit.SHARE,
            Query(ratio(outside_hits, outside_lookups), "{{model_name}}"),
        ),
        line(
            "All prefix hits",
            "Inside and outside together.",
            Unit.SHARE,
            Query(f"({hits} + {outside_hits}) / ({lookups} > 0)", "{{model_name}}"),
        ),
        line(
            "Lookup delay (p90)",
            "What a lookup adds to time to first token.",
            Unit.SECONDS,
            Query(quantile(0.9, watched.VLLM_OFFLOAD_LOOKUP_DELAY, _BY_REPLICA), _REPLICA),
            Query(quantile(0.9, watched.VLLM_OFFLOAD_ASYNC_DELAY, _BY_REPLICA), f"put off {_REPLICA}"),
        ),
        line(
            "Size of an operation",
            "Mean, bytes.",
            Unit.BYTES,
            Query(mean(watched.VLLM_OFFLOAD_STORE_SIZE, _BY_REPLICA), f"store {_REPLICA}"),
            Query(mean(watched.VLLM_OFFLOAD_LOAD_SIZE, _BY_REPLICA), f"load {_REPLICA}"),
        ),
        line(
            "Stores that were not made",
            "Per second: no room, or not worth it by their reuse.",
            Unit.PER_SECOND,
            Query(total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_NO_ROOM)), f"no room {_REPLICA}"),
            Query(total(_BY_REPLICA, rate(watched.VLLM_OFFLOAD_SKIPPED)), f"skipped {_REPLICA}"),
        ),
    )


def _blocks() -> tuple[Panel, ...]:
    model, legend = "model_name", "{{model_name}}"
    return (
        line(
            "Lifetime of a block",
            "From allocation to eviction.",
            Unit.SECONDS,
            *spread(watched.VLLM_KV_BLOCK_LIFETIME, model, legend),
        ),
        line(
            "Unused before eviction",
            "Short: useful blocks are evicted for want of room.",
            Unit.SECONDS,
            *spread(watched.VLLM_KV_BLOCK_IDLE, model, legend),
        ),
        line(
            "Between two uses of a block",
            "Longer than their lifetime: the prefix cache is too small.",
            Unit.SECONDS,
            *spread(watched.VLLM_KV_BLOCK_REUSE, model, legend),
        ),
        line(
            "Media cache hits",
            "Share of images and other media that need no encoding.",
            Unit.SHARE,
            Query(
                ratio(total(model, rate(watched.VLLM_MEDIA_HITS)), total(model, rate(watched.VLLM_MEDIA_QUERIES))),
                legend,
            ),
        ),
    )


def _speculative() -> tuple[Panel, ...]:
    model, legend = "model_name", "{{model_name}}"
    drafts, drafted, accepted = (
        watched.VLLM_SPEC_DRAFTS,
        watched.VLLM_SPEC_DRAFT_TOKENS,
        watched.VLLM_SPEC_ACCEPTED_TOKENS,
    )
    by_position = total("model_name, position", rate(watched.VLLM_SPEC_ACCEPTED_BY_POSITION))
    every_draft = f"(sum by (model_name) ({rate(drafts)}) > 0)"
    return (
        line(
            "Accepted share of drafted tokens",
            "Low: drafting costs more than it saves.",
            Unit.SHARE,
            Query(ratio(total(model, rate(accepted)), total(model, rate(drafted))), legend),
        ),
        line(
            "Accepted share by replica",
            "Differs where replicas see different prompts.",
            Unit.SHARE,
            Query(ratio(total(_BY_REPLICA, rate(accepted)), total(_BY_REPLICA, rate(drafted))), _REPLICA),
        ),
        line(
            "Tokens per step",
            "One, and the drafted tokens that were accepted.",
            Unit.COUNT,
            Query(f"1 + {ratio(total(model, rate(accepted)), total(model, rate(drafts)))}", legend),
        ),
        line(
            "Accepted share by position",
            "Of all drafts; a token counts only if those before it did.",
            Unit.SHARE,
            Query(
                f"{by_position} / on (model_name) group_left () {every_draft}", "{{model_name}} position {{position}}"
            ),
        ),
        line(
            "Drafted and accepted tokens",
            "Per second; what was not accepted was wasted.",
            Unit.PER_SECOND,
            Query(total(model, rate(drafted)), f"drafted {legend}"),
            Query(total(model, rate(accepted)), f"accepted {legend}"),
        ),
        line("Drafts", "Per second.", Unit.PER_SECOND, Query(total(model, rate(drafts)), legend)),
        line(
            "Share of output that was drafted",
            "Accepted tokens among all output tokens.",
            Unit.SHARE,
            Query(ratio(total(model, rate(accepted)), total(model, rate(scraped.VLLM_GENERATION_TOKENS))), legend),
        ),
    )


def _grpc() -> tuple[Panel, ...]:
    by, legend = "application, method", "{{application}} {{method}}"
    return (
        line(
            "Requests",
            "Per second.",
            Unit.REQUESTS_PER_SECOND,
            Query(total(by, rate(watched.SERVE_GRPC_REQUESTS)), legend),
        ),
        line(
            "Errors",
            "Per second, by code.",
            Unit.REQUESTS_PER_SECOND,
            Query(total(f"{by}, error_code", rate(watched.SERVE_GRPC_ERRORS)), f"{legend} {{{{error_code}}}}"),
        ),
        line(
            "Latency",
            "p50, p90, p99.",
            Unit.MILLISECONDS,
            *(Query(quantile(p, watched.SERVE_GRPC_LATENCY, by), f"{legend} p{p * 100:g}") for p in (0.5, 0.9, 0.99)),
        ),
        line("In flight", "By node.", Unit.COUNT, Query(of(watched.SERVE_GRPC_ONGOING), "{{instance}}")),
    )
