"""The ports of a local stack: the promised ones must be free, the internal ones are moved out of the way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace

import psutil

from controller.errors import BadInputError

HIGHEST_PORT = 65_535

FLAGS: Mapping[str, tuple[str, str]] = {
    "openai": ("the OpenAI-compatible API", "--port"),
    "controller": ("the controller", "--controller-port"),
    "prometheus": ("Prometheus", "--prometheus-port"),
    "dashboard": ("the Ray dashboard", "--dashboard-port"),
}
"""Promised ports: a person types these addresses, so they are never moved silently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everything of one local stack listens."""

    openai: int = 8000
    controller: int = 9900
    prometheus: int = 9090
    dashboard: int = 8265
    ray: int = 6379
    ray_metrics: int = 8080
    ray_client: int = 10_001
    dashboard_agent: int = 52_365
    dashboard_metrics: int = 44_227
    autoscaler_metrics: int = 44_217
    fallback_proxy: int = 8500
    haproxy_metrics: int = 9101
    haproxy_stats: int = 8404

    def numbers(self) -> tuple[int, ...]:
        """Every port, in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))


def is_free(port: int) -> bool:
    """Tell whether nothing listens on ``port`` on any address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections of a stack that has just stopped linger for a minute; they are not in the way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def listeners(ports: Iterable[int]) -> dict[int, str]:
    """Name the process that listens on each of ``ports``, where one does and may be seen."""
    wanted = set(ports)
    found: dict[int, str] = {}
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port in wanted:
            found[connection.laddr.port] = _process_name(connection.pid)
    return found


def claim(wanted: Ports, *, without: Iterable[str] = (), free: Callable[[int], bool] = is_free) -> Ports:
    """Check the promised ports and move the internal ones to free numbers.

    ``without`` names promised ports that will not be used.

    Raises:
        BadInputError: a promised port is taken, or two of them are the same.

    """
    promised = {name: getattr(wanted, name) for name in FLAGS if name not in set(without)}
    _refuse_twice(promised)
    taken = [name for name, port in promised.items() if not free(port)]
    if taken:
        raise BadInputError(_taken_message({name: promised[name] for name in taken}))
    used = set(promised.values())
    moved: dict[str, int] = {}
    for field in fields(wanted):
        if field.name not in FLAGS:
            moved[field.name] = _next_free(getattr(wanted, field.name), used, free)
            used.add(moved[field.name])
    return replace(wanted, **moved)


def _refuse_twice(promised: Mapping[str, int]) -> None:
    seen: dict[int, str] = {}
    for name, port in promised.items():
        if port in seen:
            msg = f"{FLAGS[seen[port]][1]} and {FLAGS[name][1]} are both {port}; give each its own port"
            raise BadInputError(msg)
        seen[port] = name


def _taken_message(taken: Mapping[str, int]) -> str:
    owners = listeners(taken.values())
    lines = []
    for name, port in taken.items():
        what, flag = FLAGS[name]
        owner = owners.get(port, "another process")
        lines.append(f"port {port} for {what} is taken by {owner}; stop that, or choose another with {flag}")
    return "\n".join(lines)


def _next_free(start: int, used: set[int], free: Callable[[int], bool]) -> int:
    for port in range(start, HIGHEST_PORT + 1):
        if port not in used and free(port):
            return port
    msg = f"no free port from {start} upwards"
    raise BadInputError(msg)


def _process_name(pid: int | None) -> str:
    if pid is None:
        return "another user's process"
    try:
        return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        return f"process {pid}"
