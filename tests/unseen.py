"""Catalogued metrics that no recorded page holds, each with the reason."""

from __future__ import annotations

from controller.catalog import exported, scraped, watched
from controller.catalog.metric import Metric

_TRANSFER = "KV transfers happen between prefill and decode engines only; the recorded service runs both in one"
_OFFLOAD = "no KV offloading is configured in the recorded service"
_RESIDENCY = "vLLM samples KV blocks only with --kv-cache-metrics"
_MEDIA = "the recorded model reads no images or other media"
_SPECULATION = "the recorded service drafts no tokens (speculative decoding is off)"
_GRPC = "the recorded service has no gRPC ingress"
_LORA = "the recorded service multiplexes no models"
_NO_WEBHOOKS = "the policy of the recorded service has no webhooks"
_NO_GPU = "the recorded machine has no GPU"

_NO_CANARY = "no new build was tried in the recorded service"
_NO_CLUSTER = "one machine without Kubernetes has no nodes to set"
_CLUSTER = (
    exported.CLUSTER_KNOWN,
    exported.NODES,
    exported.NODES_MOST,
    exported.NODE_GPUS,
    exported.NODE_PRICE,
    exported.POOL_OPEN,
    exported.WORKERS,
    exported.UNPLACED,
    exported.LATE_REPLICAS,
    exported.LAYER_NEED,
    exported.SUPPLY_ORDERS,
    exported.SUPPLY_LEAD,
    exported.SUPPLY_LEG,
    exported.CLUSTER_SOLVE,
    exported.LAYER_ACTUATIONS,
)

UNSEEN: dict[Metric, str] = {
    **dict.fromkeys(_CLUSTER, _NO_CLUSTER),
    scraped.VLLM_PREFIX_HITS: "a counter appears with its first increment, and no recorded prompts shared a block",
    watched.VLLM_EXTERNAL_PREFIX_QUERIES: _OFFLOAD,
    watched.VLLM_EXTERNAL_PREFIX_HITS: _OFFLOAD,
    watched.VLLM_NIXL_TRANSFER_TIME: _TRANSFER,
    watched.VLLM_NIXL_POST_TIME: _TRANSFER,
    watched.VLLM_NIXL_BYTES: _TRANSFER,
    watched.VLLM_NIXL_FAILED: _TRANSFER,
    watched.VLLM_NIXL_EXPIRED: _TRANSFER,
    watched.VLLM_OFFLOAD_STORED: _OFFLOAD,
    watched.VLLM_OFFLOAD_LOADED: _OFFLOAD,
    watched.VLLM_OFFLOAD_STORE_TIME: _OFFLOAD,
    watched.VLLM_OFFLOAD_LOAD_TIME: _OFFLOAD,
    watched.VLLM_OFFLOAD_STORE_SIZE: _OFFLOAD,
    watched.VLLM_OFFLOAD_LOAD_SIZE: _OFFLOAD,
    watched.VLLM_OFFLOAD_CPU_USAGE: _OFFLOAD,
    watched.VLLM_OFFLOAD_CPU_WRITING: _OFFLOAD,
    watched.VLLM_OFFLOAD_CPU_READING: _OFFLOAD,
    watched.VLLM_OFFLOAD_LOOKUP_DELAY: _OFFLOAD,
    watched.VLLM_NIXL_DESCRIPTORS: _TRANSFER,
    watched.VLLM_NIXL_UNNOTIFIED: _TRANSFER,
    watched.VLLM_OFFLOAD_ASYNC_DELAY: _OFFLOAD,
    watched.VLLM_OFFLOAD_NO_ROOM: _OFFLOAD,
    watched.VLLM_OFFLOAD_SKIPPED: _OFFLOAD,
    watched.VLLM_KV_BLOCK_LIFETIME: _RESIDENCY,
    watched.VLLM_KV_BLOCK_IDLE: _RESIDENCY,
    watched.VLLM_KV_BLOCK_REUSE: _RESIDENCY,
    watched.VLLM_MEDIA_QUERIES: _MEDIA,
    watched.VLLM_MEDIA_HITS: _MEDIA,
    watched.VLLM_SPEC_DRAFTS: _SPECULATION,
    watched.VLLM_SPEC_DRAFT_TOKENS: _SPECULATION,
    watched.VLLM_SPEC_ACCEPTED_TOKENS: _SPECULATION,
    watched.VLLM_SPEC_ACCEPTED_BY_POSITION: _SPECULATION,
    watched.SERVE_SCHEDULING_BACKOFF: "appears only while every replica refuses",
    watched.SERVE_GRPC_REQUESTS: _GRPC,
    watched.SERVE_GRPC_ERRORS: _GRPC,
    watched.SERVE_GRPC_LATENCY: _GRPC,
    watched.SERVE_GRPC_ONGOING: _GRPC,
    watched.SERVE_MULTIPLEXED: _LORA,
    watched.SERVE_MULTIPLEX_LOADS: _LORA,
    watched.SERVE_MULTIPLEX_UNLOADS: _LORA,
    watched.SERVE_MULTIPLEX_GETS: _LORA,
    watched.SERVE_MULTIPLEX_LOAD_TIME: _LORA,
    watched.SERVE_MULTIPLEX_UNLOAD_TIME: _LORA,
    watched.SERVE_MULTIPLEX_IDS: _LORA,
    watched.NODE_GPU_UTILIZATION: _NO_GPU,
    watched.NODE_GPU_MEMORY_USED: _NO_GPU,
    watched.NODE_GPU_MEMORY_FREE: _NO_GPU,
    watched.NODES_FAILED: "no node failed",
    watched.SPLIT_REQUESTS: _NO_CANARY,
    watched.SPLIT_SHARE: _NO_CANARY,
    exported.CANARY_SHARE: _NO_CANARY,
    exported.CANARY_PHASE: _NO_CANARY,
    exported.CANARY_REQUESTS: _NO_CANARY,
    exported.CANARY_FIRST_BYTE: _NO_CANARY,
    exported.WEBHOOK_DELIVERIES: _NO_WEBHOOKS,
    exported.WEBHOOK_PENDING: _NO_WEBHOOKS,
    exported.WEBHOOK_DEAD_LETTERS: _NO_WEBHOOKS,
    exported.WEBHOOK_OLDEST: _NO_WEBHOOKS,
    exported.WEBHOOKS_RECEIVED: _NO_WEBHOOKS,
}

_NOTHING_FAILS = "a counter appears with its first increment, and nothing fails"
_NO_BUDGET = "the local policy has no budget"
_DIRECT = "with direct token streaming requests go from HAProxy to replicas, past Serve's handles"
_NO_ROUTER = "HAProxy picks the replica itself: no router is asked (docs/serving/routing.md)"
_OURS = "Serve's own autoscaler is off: this controller scales"

UNSEEN_LOCALLY: dict[Metric, str] = {
    exported.FORECAST_MODEL_AGE: "models are fitted after a day",
    exported.LEADS: "one controller on one machine elects no leader",
    exported.BUDGET_LIMIT: _NO_BUDGET,
    exported.BUDGET_HELD: _NO_BUDGET,
    exported.BUDGET_WANTED: _NO_BUDGET,
    scraped.VLLM_PREEMPTIONS: "a counter appears with its first increment, and the cache is large enough",
    scraped.SERVE_DEPLOYMENT_ERRORS: _NOTHING_FAILS,
    watched.SERVE_HEALTH_CHECK_FAILURES: _NOTHING_FAILS,
    watched.SERVE_INGRESS_FAILURES: _NOTHING_FAILS,
    watched.SERVE_SCHEDULING_TASKS: _DIRECT,
    watched.SERVE_ROUTER_REQUESTS: _NO_ROUTER,
    watched.SERVE_INGRESS_ROUTED: _NO_ROUTER,
    watched.SERVE_INGRESS_LATENCY: _NO_ROUTER,
    watched.SERVE_OWN_DESIRED: _OURS,
    watched.SERVE_OWN_TOTAL: _OURS,
}
"""Catalogued metrics that the stack of ``foreserve up`` does not show under plain load, each with the reason."""
