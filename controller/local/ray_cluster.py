"""Ray on this machine: how it is started, how the application is deployed, and when it is ready."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.local.belongings import MARK
from controller.local.calls import RequestFailedError, request
from controller.local.children import Child, spawn
from controller.local.layout import Layout
from controller.local.ports import Ports
from serving import environment
from serving.llm import local_config

APPLICATION = "chat"
DEPLOYMENT = "LLMServer:tiny"
MODEL = "tiny"

# Logical CPUs for scheduling only: two replicas with their engines, the router and Serve's own actors.
LOGICAL_CPUS = 8
OBJECT_STORE_BYTES = 200_000_000


def ray_environment(inherited: Mapping[str, str], layout: Layout, ports: Ports, token: str) -> dict[str, str]:
    """Return the environment of ``ray start``; Ray's workers, HAProxy and vLLM inherit it."""
    haproxy = layout.haproxy
    return environment.local(inherited) | {
        MARK: layout.run.run_id,
        # Jobs say `python`: it is to be this one.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)]),
        # Explicit: unset, Ray asks for a token or not depending on a file in the home folder.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "AUTOSCALER_METRIC_PORT": str(ports.autoscaler_metrics),
        "DASHBOARD_METRIC_PORT": str(ports.dashboard_metrics),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports.fallback_proxy),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports.haproxy_metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports.haproxy_stats),
        # vLLM leaves its sockets and rendezvous files behind; here they go with the run.
        "TMPDIR": str(layout.temporary),
        # Not in the folder that every cluster of this machine shares.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
    }


def start(layout: Layout, ports: Ports, env: Mapping[str, str], *, cpus: int = LOGICAL_CPUS) -> Child:
    """Start a Ray head node in the foreground of a child, so that its end is noticed. ``cpus`` are logical ones."""
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        f"--temp-dir={layout.ray}",
        "--node-ip-address=127.0.0.1",
        f"--port={ports.ray}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={ports.dashboard}",
        f"--dashboard-agent-listen-port={ports.dashboard_agent}",
        f"--metrics-export-port={ports.ray_metrics}",
        f"--ray-client-server-port={ports.ray_client}",
        # Any free port: Ray's fixed range would meet the ports of a second cluster, or the chosen ones.
        "--min-worker-port=0",
        "--max-worker-port=0",
        f"--num-cpus={cpus}",
        "--num-gpus=0",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        "--include-log-monitor=false",
        "--disable-usage-stats",
    ]
    return spawn("Ray", command, env=env, log=layout.log("ray"))


def require_up(dashboard_url: str, token: str) -> None:
    """Raise ``RequestFailedError`` unless the dashboard answers."""
    request(f"{dashboard_url}/api/version", token=token, timeout_s=5)


def deploy(dashboard_url: str, token: str, *, model: Path, http_port: int) -> None:
    """Hand the application to Serve; starts Serve, HAProxy included, on the first call."""
    body = local_config(model_source=str(model), http_port=http_port, model_id=MODEL)
    request(f"{dashboard_url}/api/serve/applications/", method="PUT", body=body, token=token, timeout_s=90)


def application(dashboard_url: str, token: str) -> dict[str, Any]:
    """Serve's account of the application; empty before it is known."""
    answer = json.loads(request(f"{dashboard_url}/api/serve/applications/", token=token))
    found: dict[str, Any] = answer.get("applications", {}).get(APPLICATION) or {}
    return found


def describe(state: Mapping[str, Any]) -> str:
    """One line about how far the deployments are: ``LLMServer:tiny STARTING, LLMRouter RUNNING``."""
    parts = []
    for name, deployment in state.get("deployments", {}).items():
        states = " ".join(replica["state"] for replica in deployment["replicas"]) or "no replica yet"
        parts.append(f"{name} {states}")
    return ", ".join(parts)


def require_running(state: Mapping[str, Any]) -> None:
    """Raise ``RequestFailedError`` unless the application runs; its message is Serve's own."""
    status = state.get("status", "NOT_STARTED")
    if status != "RUNNING":
        message = str(state.get("message", "")).strip()
        msg = f"application {APPLICATION} is {status}{': ' + message if message else ''}"
        raise RequestFailedError(msg)
