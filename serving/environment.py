"""Every Ray, HAProxy and vLLM environment variable that Foreserve sets, each with its reason. Standard library only.

They must be set for ``ray start``: Ray's workers inherit them from there. ``foreserve preflight serving`` looks whether
they are in effect on a running cluster. ``python -m serving.environment gpu`` prints them for a shell or a manifest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable, its value, and why."""

    name: str
    value: str
    why: str


HAPROXY = "RAY_SERVE_HAPROXY_BINARY_PATH"
_HAPROXY_HERE = Path(__file__).with_name("haproxy.py")

PATH = (
    Setting("RAY_SERVE_ENABLE_HA_PROXY", "1", "HAProxy stands before the replicas instead of a Python process."),
    Setting(
        "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING",
        "1",
        "Tokens go from the replica through HAProxy to the client, not through an OpenAI ingress replica in between.",
    ),
    Setting(
        "RAY_SERVE_THROUGHPUT_OPTIMIZED", "1", "Serve's switch for gRPC between actors, one event loop and a frozen GC."
    ),
    Setting(
        "VLLM_USE_RAY_V2_EXECUTOR_BACKEND",
        "1",
        "vLLM's second executor on Ray: workers talk by shared memory. The default since 0.29, said for older images.",
    ),
    Setting(
        "RAY_SERVE_INGRESS_REQUEST_ROUTER_METRICS_ENABLED",
        "1",
        "Metrics of the step that pins a request to a replica are off unless asked for.",
    ),
    Setting(
        "RAY_SERVE_HAPROXY_RETRY_ON",
        "conn-failure empty-response",
        "Sent again to another replica only while no byte of an answer has come; without it, one that meets "
        "the end of a leaving replica's kept connection ends in a closed connection.",
    ),
    Setting("RAY_SERVE_HAPROXY_RETRIES", "3", "One try for each of three replicas that vanish in the same second."),
    Setting("RAY_SERVE_HAPROXY_TCP_NODELAY", "1", "A token is a small write; Nagle's algorithm would hold it back."),
    Setting("RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S", "2", "Replicas are near: a slow connection means a lost node."),
    Setting(
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER",
        "2s",
        "A replica that hangs is left out after two checks: 4 s, not 10. Also a check's time limit, so not less.",
    ),
    Setting(
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S",
        "2",
        "A dead HAProxy is started anew after three missed checks: 6 s of refused connections, not 30.",
    ),
    Setting("RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S", "5", "Must be shorter than three periods."),
    Setting(
        HAPROXY,
        "/opt/foreserve/serving/haproxy.py",
        "Closes the statistics page and the admin socket, which Ray leaves open, adds /-/ready, lets a replaced "
        "process pass requests on to its successor, and becomes HAProxy. "
        "The path of our image: where serving lies elsewhere, leave it out or name it.",
    ),
    Setting("RAY_worker_niceness", "0", "Ray starts its workers at niceness 15, behind everything else on the node."),
    Setting("RAY_USAGE_STATS_ENABLED", "0", "Nothing is reported to anyone."),
    Setting("VLLM_NO_USAGE_STATS", "1", "Nothing is reported to anyone."),
    Setting("DO_NOT_TRACK", "1", "Nothing is reported to anyone."),
)

FRESH_METRICS = (
    Setting("RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1", "Guided mode reacts to what replicas report."),
    Setting("RAY_metrics_report_interval_ms", "2000", "A target follows within 5 s: its evidence may not be 10 s old."),
    Setting(
        "RAY_SERVE_STATUS_GAUGE_REPORT_INTERVAL_S",
        "2",
        "Ray's agent drops a gauge after two report intervals: what is reported more slowly flickers.",
    ),
    Setting("RAY_SERVE_HAPROXY_METRICS_REPORT_INTERVAL_S", "2", "As above."),
)

GPU_NODE = (
    Setting(
        "RAY_SERVE_HAPROXY_NBTHREAD", "8", "Of a GPU node's dozens of cores; every token of its streams passes here."
    ),
    Setting("RAY_SERVE_HAPROXY_TUNE_BUFSIZE", "65536", "A request can be sent again as far as it fits the buffer."),
    Setting("RAY_SERVE_HAPROXY_MAXCONN", "16384", "A stream holds its connection for a minute: 4096 are soon gone."),
    Setting("RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S", "600", "Longest silence of a replica: the wait for a first token."),
    Setting("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "3600", "A client says nothing while it reads: this ends no stream."),
    Setting(
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S",
        "900",
        "Each change of replicas reloads HAProxy, and the old process ends so long after it, streams or not.",
    ),
    Setting(
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
        "30",
        "A leaving replica stays reachable until every HAProxy, and the load balancer before it, knows.",
    ),
)

LOCAL_NODE = (
    Setting("RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER", "5s", "On two busy cores a healthy replica may take a second."),
    Setting("FORESERVE_HAPROXY_METRICS_HOST", "127.0.0.1", "Nobody outside this machine reads HAProxy's metrics."),
    Setting("RAY_SERVE_HAPROXY_NBTHREAD", "2", "Four threads are made for a server; the local stack shares two cores."),
    Setting(
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
        "10",
        "The default of 30 s would make the way down as slow as the way up; a local stream takes a few seconds.",
    ),
    Setting("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0", "At the end nothing is left to drain: traffic stops first."),
    Setting("RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S", "60", "An old HAProxy process ends this long after a reload."),
    Setting("VLLM_CPU_OMP_THREADS_BIND", "nobind", "Two engines bound to cores would sit on the same one."),
    Setting("OMP_NUM_THREADS", "1", "Two cores are shared by everything."),
    Setting("TORCH_COMPILE_DISABLE", "1", "Compiling the sampler would hold up the first sampled request for 20 s."),
    Setting("VLLM_TARGET_DEVICE", "cpu", "There is no GPU here."),
    Setting("FORESERVE_QUIET_ENGINE", "0.004", "Engine and worker nap while they wait: see serving.quiet_engine."),
    Setting("HF_HUB_OFFLINE", "1", "The model is made on this machine."),
    Setting("TRANSFORMERS_OFFLINE", "1", "As above."),
)

SEVERAL_MODELS = (
    Setting(
        "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING",
        "0",
        "Ray streams directly for one model an application: several behind one address need the ingress.",
    ),
)
BODY_ROUTING = (
    Setting(
        "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY",
        "1",
        "Routing by prefix or adapter reads the body; HAProxy then holds 8 MiB of it for each connection.",
    ),
    Setting("RAY_SERVE_HAPROXY_INGRESS_REQUEST_ROUTER_BUFSIZE", "1048576", "1 MiB: a prompt of 250,000 tokens."),
)


def local_bucket(port: int) -> tuple[Setting, ...]:
    """Return what makes Ray find the adapters of ``python -m serving.bucket FOLDER PORT``."""
    return (
        Setting("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}", "Adapters lie in a folder of this machine."),
        Setting("AWS_REGION", "us-east-1", "Otherwise the client asks the network where it is."),
        Setting("AWS_EC2_METADATA_DISABLED", "true", "As above."),
    )


_UNWANTED = (
    # Overrides kv_cache_memory_bytes, and the empty string crashes every replica.
    "VLLM_CPU_KVCACHE_SPACE",
    # Another cluster's address would win over the one that is started.
    "RAY_ADDRESS",
    # A fixed listen address is ignored with HAProxy and warned about on every start.
    "RAY_SERVE_DEFAULT_HTTP_HOST",
)
_REPLICA = (
    "VLLM_CPU_OMP_THREADS_BIND",
    "OMP_NUM_THREADS",
    "TORCH_COMPILE_DISABLE",
    "VLLM_TARGET_DEVICE",
    "FORESERVE_QUIET_ENGINE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "VLLM_NO_USAGE_STATS",
)
PROFILES: Mapping[str, tuple[Setting, ...]] = {
    "gpu": (*PATH, *FRESH_METRICS, *GPU_NODE),
    "local": (*PATH, *FRESH_METRICS, *LOCAL_NODE),
}


def local(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a one-machine stack on CPUs, on top of an inherited one."""
    return _clean(inherited) | here(PROFILES["local"])


def gpu(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a GPU cluster's Ray nodes with our image, on top of an inherited one."""
    return _clean(inherited) | variables(PROFILES["gpu"])


def replica() -> dict[str, str]:
    """Return what a CPU replica needs even where ``ray start`` did not set it."""
    known = variables(PROFILES["local"])
    return {name: known[name] for name in _REPLICA}


def variables(settings: Iterable[Setting]) -> dict[str, str]:
    """Return name and value of each; a later one wins."""
    return {setting.name: setting.value for setting in settings}


def here(settings: Iterable[Setting]) -> dict[str, str]:
    """Return the same for a node that has this package where it is here."""
    known = variables(settings)
    return known | ({HAPROXY: str(_HAPROXY_HERE)} if HAPROXY in known else {})


def table(profile: str) -> str:
    """Return a profile as a table in Markdown."""
    rows = [f"| `{one.name}` | `{one.value}` | {one.why} |" for one in PROFILES[profile]]
    return "\n".join(["| variable | value | why |", "|---|---|---|", *rows])


def _clean(inherited: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in inherited.items() if name not in _UNWANTED}


def main(arguments: list[str]) -> int:
    """Print a profile for a shell (``eval``), or as the document's table."""
    profile = arguments[0] if arguments else ""
    if profile not in PROFILES or arguments[1:] not in ([], ["--table"]):
        sys.stderr.write(f"usage: python -m serving.environment {'|'.join(PROFILES)} [--table]\n")
        return 2
    if arguments[1:]:
        sys.stdout.write(table(profile) + "\n")
    else:
        values = here(PROFILES[profile])
        sys.stdout.writelines(f"export {one.name}={values[one.name]!r}  # {one.why}\n" for one in PROFILES[profile])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
