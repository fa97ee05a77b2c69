"""Metrics that only dashboards and alerts read, from Prometheus; the controller itself does not read them.

Names, labels and meanings hold for Ray 2.60, vLLM 0.29 and HAProxy 2.8, like those in ``scraped``.
"""

from __future__ import annotations

from controller.catalog.haproxy import HAPROXY_DETAIL
from controller.catalog.metric import Kind, Metric, Origin

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_ENGINE = ("ReplicaId", "engine", "model_name")
_DEPLOYMENT = ("application", "deployment")
_REPLICA = (*_DEPLOYMENT, "replica")
_NODE = ("ip",)
_BACKEND = ("proxy",)
_SERVER = ("proxy", "server")


def _ray(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(
        name=f"ray_{name}",
        kind=kind,
        unit=unit,
        labels=labels,
        help=help_text,
        origin=Origin.RAY,
        identity=("WorkerId",) if name.startswith(("vllm_", "serve_", "object_store_")) else (),
    )


def _vllm(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return _ray(f"vllm_{name}", kind, unit, help_text, *_ENGINE, *labels)


def _serve(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return _ray(f"serve_{name}", kind, unit, help_text, *labels)


def _autoscaler(name: str, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(
        name=f"autoscaler_{name}", kind=_G, unit=unit, labels=labels, help=help_text, origin=Origin.AUTOSCALER
    )


def _haproxy(name: str, kind: Kind, unit: str, help_text: str, *labels: str) -> Metric:
    return Metric(name=f"haproxy_{name}", kind=kind, unit=unit, labels=labels, help=help_text, origin=Origin.HAPROXY)


VLLM_WAITING_BY_REASON = _vllm(
    "num_requests_waiting_by_reason", _G, "requests", "Waiting requests by reason.", "reason"
)
VLLM_PREFILL_TIME = _vllm("request_prefill_time_seconds", _H, "s", "Time of a request in prefill.")
VLLM_DECODE_TIME = _vllm("request_decode_time_seconds", _H, "s", "Time of a request in decode.")
VLLM_INFERENCE_TIME = _vllm("request_inference_time_seconds", _H, "s", "Time of a request in the running batch.")
VLLM_REQUEST_PROMPT_TOKENS = _vllm("request_prompt_tokens", _H, "tokens", "Prompt length of a request.")
VLLM_REQUEST_OUTPUT_TOKENS = _vllm("request_generation_tokens", _H, "tokens", "Output length of a request.")
VLLM_REQUEST_MAX_TOKENS = _vllm("request_params_max_tokens", _H, "tokens", "Output length that a request allows.")
VLLM_REQUEST_LONGEST_OUTPUT = _vllm(
    "request_max_num_generation_tokens", _H, "tokens", "Output length of the longest of a request's answers."
)
VLLM_REQUEST_COMPUTED_TOKENS = _vllm(
    "request_prefill_kv_computed_tokens", _H, "tokens", "Prompt tokens of a request that no cache held."
)
VLLM_KV_BLOCK_LIFETIME = _vllm("kv_block_lifetime_seconds", _H, "s", "A KV block's time from allocation to eviction.")
VLLM_KV_BLOCK_IDLE = _vllm("kv_block_idle_before_evict_seconds", _H, "s", "Time unused of an evicted KV block.")
VLLM_KV_BLOCK_REUSE = _vllm("kv_block_reuse_gap_seconds", _H, "s", "Time between two uses of a KV block.")
VLLM_MEDIA_QUERIES = _vllm("mm_cache_queries_total", _C, "items", "Lookups in the cache of images and other media.")
VLLM_MEDIA_HITS = _vllm("mm_cache_hits_total", _C, "items", "Hits of those lookups.")
VLLM_SPEC_DRAFTS = _vllm("spec_decode_num_drafts_total", _C, "drafts", "Drafts of speculative decoding.")
VLLM_SPEC_DRAFT_TOKENS = _vllm("spec_decode_num_draft_tokens_total", _C, "tokens", "Tokens drafted.")
VLLM_SPEC_ACCEPTED_TOKENS = _vllm("spec_decode_num_accepted_tokens_total", _C, "tokens", "Drafted tokens accepted.")
VLLM_SPEC_ACCEPTED_BY_POSITION = _vllm(
    "spec_decode_num_accepted_tokens_per_pos_total", _C, "tokens", "Drafted tokens accepted, by position.", "position"
)
VLLM_PROMPT_TOKENS_BY_SOURCE = _vllm(
    "prompt_tokens_by_source_total", _C, "tokens", "Prompt tokens by where their KV came from.", "source"
)
VLLM_EXTERNAL_PREFIX_QUERIES = _vllm(
    "external_prefix_cache_queries_total", _C, "tokens", "Lookups in a KV cache outside the engine."
)
VLLM_EXTERNAL_PREFIX_HITS = _vllm("external_prefix_cache_hits_total", _C, "tokens", "Hits of those lookups.")
VLLM_NIXL_TRANSFER_TIME = _vllm("nixl_xfer_time_seconds", _H, "s", "Time of a KV transfer between engines.")
VLLM_NIXL_POST_TIME = _vllm("nixl_post_time_seconds", _H, "s", "Time to post a KV transfer.")
VLLM_NIXL_BYTES = _vllm("nixl_bytes_transferred", _H, "bytes", "Size of a KV transfer.")
VLLM_NIXL_FAILED = _vllm("nixl_num_failed_transfers", _C, "transfers", "KV transfers that failed.")
VLLM_NIXL_EXPIRED = _vllm("nixl_num_kv_expired_reqs_total", _C, "requests", "Requests whose KV expired unread.")
VLLM_NIXL_DESCRIPTORS = _vllm("nixl_num_descriptors", _H, "descriptors", "Memory descriptors of a KV transfer.")
VLLM_NIXL_UNNOTIFIED = _vllm(
    "nixl_num_failed_notifications", _C, "notifications", "Notifications of KV transfers that failed."
)
VLLM_OFFLOAD_STORED = _vllm("kv_offload_store_bytes_total", _C, "bytes", "KV bytes stored outside the GPU.")
VLLM_OFFLOAD_LOADED = _vllm("kv_offload_load_bytes_total", _C, "bytes", "KV bytes loaded back.")
VLLM_OFFLOAD_STORE_TIME = _vllm("kv_offload_store_time_total", _C, "s", "Time spent storing.")
VLLM_OFFLOAD_LOAD_TIME = _vllm("kv_offload_load_time_total", _C, "s", "Time spent loading back.")
VLLM_OFFLOAD_STORE_SIZE = _vllm("kv_offload_store_size", _H, "bytes", "Size of a store.")
VLLM_OFFLOAD_LOAD_SIZE = _vllm("kv_offload_load_size", _H, "bytes", "Size of a load.")
VLLM_OFFLOAD_CPU_USAGE = _vllm("kv_offload_cpu_cache_usage_perc", _G, "ratio", "CPU KV cache in use.")
VLLM_OFFLOAD_CPU_WRITING = _vllm("kv_offload_cpu_cache_write_usage_perc", _G, "ratio", "CPU KV cache that stores hold.")
VLLM_OFFLOAD_CPU_READING = _vllm("kv_offload_cpu_cache_read_usage_perc", _G, "ratio", "CPU KV cache that loads hold.")
VLLM_OFFLOAD_LOOKUP_DELAY = _vllm("kv_offload_lookup_sync_delay_seconds", _H, "s", "Wait for a lookup.")
VLLM_OFFLOAD_ASYNC_DELAY = _vllm("kv_offload_lookup_async_delay_seconds", _H, "s", "Time until a put-off lookup ends.")
VLLM_OFFLOAD_NO_ROOM = _vllm("kv_offload_allocation_failure_total", _C, "stores", "Stores for which there was no room.")
VLLM_OFFLOAD_SKIPPED = _vllm("kv_offload_stores_skipped_total", _C, "stores", "Stores not worth it by their reuse.")

SERVE_APPLICATION_STATUS = _serve(
    "application_status",
    _G,
    "state",
    "1 DEPLOY_FAILED, 2 UNHEALTHY, 3 NOT_STARTED, 4 DELETING, 5 DEPLOYING, 6 RUNNING.",
    "application",
)
SERVE_DEPLOYMENT_STATUS = _serve(
    "deployment_status",
    _G,
    "state",
    "1 DEPLOY_FAILED, 2 UNHEALTHY, 3 UPDATING, 4 UPSCALING, 5 DOWNSCALING, 6 HEALTHY.",
    *_DEPLOYMENT,
)
SERVE_PROXY_STATUS = _serve(
    "proxy_status", _G, "state", "1 STARTING, 2 HEALTHY, 3 UNHEALTHY, 4 DRAINING, 5 DRAINED.", "node_id"
)
SERVE_REPLICA_STARTS = _serve(
    "deployment_replica_starts_total", _C, "replicas", "Starts of a replica; one series for each replica.", *_REPLICA
)
SERVE_HEALTH_CHECK_FAILURES = _serve(
    "health_check_failures_total", _C, "checks", "Health checks that failed.", *_REPLICA
)
SERVE_INITIALIZATION = _serve(
    "replica_initialization_latency_ms",
    _H,
    "ms",
    "Time in a replica's constructor: weights, compilation.",
    *_DEPLOYMENT,
)
SERVE_UTILIZATION = _serve(
    "replica_utilization_percent", _G, "percent", "Busy share of a replica's request slots.", *_REPLICA
)
SERVE_HTTP_LATENCY = _serve(
    "http_request_latency_ms", _H, "ms", "Time of an HTTP request.", "application", "route", "method", "status_code"
)
SERVE_DEPLOYMENT_HTTP_ERRORS = _serve(
    "num_deployment_http_error_requests_total",
    _C,
    "requests",
    "HTTP requests that failed, by deployment.",
    *_DEPLOYMENT,
    "error_code",
    "route",
    "method",
)
SERVE_PROCESSING_LATENCY = _serve(
    "deployment_processing_latency_ms", _H, "ms", "Time of a request in a replica.", *_REPLICA, "route"
)
SERVE_ROUTER_REQUESTS = _serve(
    "num_router_requests_total",
    _C,
    "requests",
    "Requests a router took in.",
    *_DEPLOYMENT,
    "route",
    "handle",
    "actor_id",
)
SERVE_SCHEDULING_TASKS = _serve("num_scheduling_tasks", _G, "tasks", "Routing tasks of a handle.", *_DEPLOYMENT)
SERVE_SCHEDULING_BACKOFF = _serve(
    "num_scheduling_tasks_in_backoff", _G, "tasks", "Routing tasks that wait for a free replica.", *_DEPLOYMENT
)
SERVE_LOOP_DURATION = _serve("controller_control_loop_duration_s", _G, "s", "Length of Serve's control loop.")
SERVE_LOOPS = _serve("controller_num_control_loops", _G, "loops", "Control loops of Serve so far.")
SERVE_OWN_DESIRED = _serve(
    "autoscaling_desired_replicas", _G, "replicas", "What Serve's own autoscaler wants, where it is on.", *_DEPLOYMENT
)
SERVE_OWN_TOTAL = _serve(
    "autoscaling_total_requests", _G, "requests", "Requests that Serve's own autoscaler counts.", *_DEPLOYMENT
)
SERVE_HAPROXY_PROCESSES = _serve("haproxy_process_count", _G, "processes", "HAProxy processes of a node.", "node_id")
SERVE_HAPROXY_MISMATCH = _serve(
    "haproxy_target_mismatch", _G, "bool", "1 while HAProxy's servers are not what Serve wants.", "node_id"
)
SERVE_INGRESS_ROUTED = _serve(
    "haproxy_ingress_router_requests_total", _C, "requests", "Requests that HAProxy had routed.", "application"
)
SERVE_INGRESS_LATENCY = _serve(
    "haproxy_ingress_router_latency_ms", _H, "ms", "Time to choose a replica for a request.", "application", "outcome"
)
SERVE_INGRESS_FAILURES = _serve(
    "haproxy_ingress_router_failures_total",
    _C,
    "requests",
    "Requests for which no replica was chosen.",
    "application",
    "reason",
)
SERVE_GRPC_REQUESTS = _serve(
    "num_grpc_requests_total", _C, "requests", "gRPC requests finished.", "application", "method"
)
SERVE_GRPC_ERRORS = _serve(
    "num_grpc_error_requests_total", _C, "requests", "gRPC requests that failed.", "application", "method", "error_code"
)
SERVE_GRPC_LATENCY = _serve("grpc_request_latency_ms", _H, "ms", "Time of a gRPC request.", "application", "method")
SERVE_GRPC_ONGOING = _serve("num_ongoing_grpc_requests", _G, "requests", "gRPC requests in flight on a node.")
SERVE_MULTIPLEXED = _serve("num_multiplexed_models", _G, "models", "Models (LoRA adapters) on a replica.", *_REPLICA)
SERVE_MULTIPLEX_LOADS = _serve("multiplexed_models_load_counter_total", _C, "loads", "Models loaded.", *_REPLICA)
SERVE_MULTIPLEX_UNLOADS = _serve(
    "multiplexed_models_unload_counter_total", _C, "unloads", "Models unloaded.", *_REPLICA
)
SERVE_MULTIPLEX_GETS = _serve(
    "multiplexed_get_model_requests_counter_total", _C, "requests", "Requests for a model.", *_REPLICA
)
SERVE_MULTIPLEX_LOAD_TIME = _serve("multiplexed_model_load_latency_ms", _H, "ms", "Time to load a model.", *_REPLICA)
SERVE_MULTIPLEX_UNLOAD_TIME = _serve(
    "multiplexed_model_unload_latency_ms", _H, "ms", "Time to unload a model.", *_REPLICA
)
SERVE_MULTIPLEX_IDS = _serve(
    "registered_multiplexed_model_id", _G, "info", "1 for each model on a replica.", *_REPLICA, "model_id"
)

NODE_CPU = _ray("node_cpu_utilization", _G, "percent", "CPU in use on a node.", *_NODE)
NODE_MEMORY_USED = _ray("node_mem_used", _G, "bytes", "Memory in use on a node.", *_NODE)
NODE_MEMORY_TOTAL = _ray("node_mem_total", _G, "bytes", "Memory of a node.", *_NODE)
NODE_DISK_USED = _ray("node_disk_usage", _G, "bytes", "Disk in use on a node.", *_NODE)
NODE_DISK_FREE = _ray("node_disk_free", _G, "bytes", "Disk left on a node.", *_NODE)
NODE_RECEIVED = _ray("node_network_receive_speed", _G, "bytes/s", "Bytes a node receives.", *_NODE)
NODE_SENT = _ray("node_network_send_speed", _G, "bytes/s", "Bytes a node sends.", *_NODE)
NODE_GPU_UTILIZATION = _ray(
    "node_gpus_utilization", _G, "percent", "GPU in use, as its driver says.", *_NODE, "GpuDeviceName", "GpuIndex"
)
NODE_GPU_MEMORY_USED = _ray("node_gram_used", _G, "MB", "GPU memory in use.", *_NODE, "GpuDeviceName", "GpuIndex")
NODE_GPU_MEMORY_FREE = _ray("node_gram_available", _G, "MB", "GPU memory left.", *_NODE, "GpuDeviceName", "GpuIndex")
OBJECT_STORE_USED = _ray(
    "object_store_memory", _G, "bytes", "Object store in use.", "Location", "ObjectState", "Component"
)
RESOURCES = _ray("resources", _G, "units", "Ray's logical resources of a node, by use.", "Name", "State")
NODES_ACTIVE = _autoscaler("active_nodes", "nodes", "Ray nodes that run, by worker group.", "NodeType")
NODES_PENDING = _autoscaler("pending_nodes", "nodes", "Ray nodes that were asked for and have not come.", "NodeType")
NODES_FAILED = _autoscaler("recently_failed_nodes", "nodes", "Ray nodes that failed lately.", "NodeType")
CLUSTER_RESOURCES = _autoscaler("cluster_resources", "units", "Ray's logical resources in the cluster.", "resource")
PENDING_RESOURCES = _autoscaler("pending_resources", "units", "Resources of nodes that are on the way.", "resource")

HAPROXY_BACKUP_SERVERS = _haproxy(
    "backend_backup_servers", _G, "servers", "Backup servers up: Serve's fallback proxy.", *_BACKEND
)
HAPROXY_RETRIES = _haproxy("backend_retry_warnings_total", _C, "retries", "Connections tried again.", *_BACKEND)
HAPROXY_REDISPATCHES = _haproxy(
    "backend_redispatch_warnings_total", _C, "requests", "Requests sent to another server.", *_BACKEND
)
HAPROXY_RESPONSE_ERRORS = _haproxy(
    "backend_response_errors_total", _C, "responses", "Responses that broke off.", *_BACKEND
)
HAPROXY_CLIENT_ABORTS = _haproxy("backend_client_aborts_total", _C, "requests", "Clients that left.", *_BACKEND)
HAPROXY_SERVER_ABORTS = _haproxy("backend_server_aborts_total", _C, "requests", "Servers that left.", *_BACKEND)
HAPROXY_QUEUE_TIME = _haproxy(
    "backend_queue_time_average_seconds", _G, "s", "Time in queue, mean of the last 1024 requests.", *_BACKEND
)
HAPROXY_CONNECT_TIME = _haproxy(
    "backend_connect_time_average_seconds", _G, "s", "Time to connect, mean of the last 1024 requests.", *_BACKEND
)
HAPROXY_RESPONSE_TIME = _haproxy(
    "backend_response_time_average_seconds", _G, "s", "Time to the response's head, mean of the last 1024.", *_BACKEND
)
HAPROXY_TOTAL_TIME = _haproxy(
    "backend_total_time_average_seconds", _G, "s", "Time of a request, mean of the last 1024.", *_BACKEND
)
HAPROXY_BYTES_IN = _haproxy("backend_bytes_in_total", _C, "bytes", "Bytes of requests.", *_BACKEND)
HAPROXY_BYTES_OUT = _haproxy("backend_bytes_out_total", _C, "bytes", "Bytes of responses.", *_BACKEND)
HAPROXY_SERVER_STATUS = _haproxy("server_status", _G, "bool", "1 for the state a server is in.", *_SERVER, "state")
HAPROXY_SERVER_SESSIONS = _haproxy("server_current_sessions", _G, "sessions", "Requests in flight.", *_SERVER)
HAPROXY_CHECK_FAILURES = _haproxy("server_check_failures_total", _C, "checks", "Failed health checks.", *_SERVER)
HAPROXY_FRONTEND_SESSIONS = _haproxy("frontend_current_sessions", _G, "sessions", "Open sessions.", *_BACKEND)
HAPROXY_FRONTEND_REQUESTS = _haproxy("frontend_http_requests_total", _C, "requests", "Requests taken in.", *_BACKEND)
HAPROXY_CONNECTIONS = _haproxy("process_current_connections", _G, "connections", "Connections of the process.")
HAPROXY_MAX_CONNECTIONS = _haproxy("process_max_connections", _G, "connections", "Most connections it accepts.")
HAPROXY_IDLE_TIME = _haproxy("process_idle_time_percent", _G, "percent", "Idle time of the process.")

SPLIT_REQUESTS = _ray(
    "foreserve_split_requests_total", _C, "requests", "Requests of `serving.split` by build.", "build", "outcome"
)
SPLIT_SHARE = _ray("foreserve_split_share", _G, "ratio", "The canary's share, as splitting replicas have it.", "build")

WATCHED: tuple[Metric, ...] = (
    *(value for value in list(globals().values()) if isinstance(value, Metric)),
    *HAPROXY_DETAIL,
)
