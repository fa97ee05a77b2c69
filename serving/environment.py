"""Every Ray, HAProxy and vLLM environment variable that Foreserve sets, each with its reason. Standard library only.

They must be set for ``ray start``: Ray's workers inherit them from there.
"""

from __future__ import annotations

from collections.abc import Mapping

_SERVE: Mapping[str, str] = {
    # HAProxy replaces the Python proxy in front of the replicas.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # Tokens stream from the replica through HAProxy, not through an OpenAI ingress replica.
    "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": "1",
    # Serve's own switch for its faster defaults (gRPC between actors, one loop, frozen GC).
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Metrics of the step that pins a request to a replica are off unless asked for.
    "RAY_SERVE_INGRESS_REQUEST_ROUTER_METRICS_ENABLED": "1",
    # vLLM's default since 0.29; said here because the GPU pattern depends on it.
    "VLLM_USE_RAY_V2_EXECUTOR_BACKEND": "1",
    # Nothing is reported to anyone.
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}

_FRESH_METRICS: Mapping[str, str] = {
    # A target must rise within 5 s of the evidence, so the evidence may not be 10 s old.
    "RAY_metrics_report_interval_ms": "2000",
    # Ray's agent drops a gauge after two report intervals: whoever reports slower than that flickers.
    "RAY_SERVE_STATUS_GAUGE_REPORT_INTERVAL_S": "2",
    "RAY_SERVE_HAPROXY_METRICS_REPORT_INTERVAL_S": "2",
}

_LOCAL: Mapping[str, str] = {
    **_FRESH_METRICS,
    # Four threads are made for a server; the local stack shares two cores.
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    # Ray starts its workers at niceness 15, where they starve beside everything else on a small machine.
    "RAY_worker_niceness": "0",
    # How long a leaving replica keeps serving. The default of 30 s would make the way down as slow as the way up;
    # the longest local stream takes a few seconds.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "10",
    # An old HAProxy process ends this long after a reload, streams or not.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "60",
    # Two engines on two cores: binding threads to cores would put both on the same one.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    # Compiling the sampler would hold up the first sampled request for 20 s.
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_TARGET_DEVICE": "cpu",
    # Engine and worker nap for 4 ms while they wait for each other: see serving.quiet_engine.
    "FORESERVE_QUIET_ENGINE": "0.004",
    # The model is made on this machine; nothing is looked up on a hub.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}

_UNWANTED = (
    # Overrides kv_cache_memory_bytes, and the empty string crashes every replica.
    "VLLM_CPU_KVCACHE_SPACE",
    # Another cluster's address would win over the one that is started.
    "RAY_ADDRESS",
    # A fixed listen address is ignored with HAProxy and warned about on every start.
    "RAY_SERVE_DEFAULT_HTTP_HOST",
)


def local(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a one-machine stack on CPUs, on top of an inherited one."""
    return _clean(inherited) | {**_SERVE, **_LOCAL}


def gpu(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a GPU cluster's Ray nodes: Serve's ingress and fresh metrics only."""
    return _clean(inherited) | {**_SERVE, **_FRESH_METRICS}


def replica() -> dict[str, str]:
    """Return what a CPU replica needs even where ``ray start`` did not set it."""
    names = (
        "VLLM_CPU_OMP_THREADS_BIND",
        "OMP_NUM_THREADS",
        "TORCH_COMPILE_DISABLE",
        "VLLM_TARGET_DEVICE",
        "FORESERVE_QUIET_ENGINE",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "VLLM_NO_USAGE_STATS",
    )
    known = {**_SERVE, **_LOCAL}
    return {name: known[name] for name in names}


def _clean(inherited: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in inherited.items() if name not in _UNWANTED}
