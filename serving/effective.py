"""What a running cluster really does, as JSON: ``python -m serving.effective`` on any node, or as a Ray job.

On each node a task reads what Ray's workers get from their environment, HAProxy's own configuration of the process
that listens, and which process holds the ports. Requested and effective are both told; who reads it compares.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MARK = "foreserve-effective:"
"""Begins the line with the result, among whatever else a job prints."""

_DIRECTIVES = (
    "nbthread",
    "maxconn",
    "hard-stop-after",
    "timeout connect",
    "timeout client",
    "timeout server",
    "retries",
    "retry-on",
    "option http-no-delay",
    "balance",
)
_SERVER = re.compile(r"^\s+server (\S+) (\S+):(\d+)(.*)$")
_PREFIXES = ("RAY_SERVE_", "RAY_metrics_", "RAY_worker_", "VLLM_")


def read_config(text: str) -> dict[str, Any]:
    """Pick out of HAProxy's configuration what matters here."""
    found: dict[str, Any] = {"settings": {}, "binds": [], "backends": {}}
    section = backend = ""
    for line in text.splitlines():
        if line and not line[0].isspace():
            section, _, backend = line.strip().partition(" ")
            if section == "backend":
                found["backends"][backend] = {"servers": [], "backup": 0}
            continue
        words = line.strip()
        if section in {"global", "defaults"}:
            for name in _DIRECTIVES:
                if words == name or words.startswith(f"{name} "):
                    found["settings"][name] = words.removeprefix(name).strip()
        elif section in {"frontend", "listen"} and words.startswith("bind "):
            found["binds"].append(words.split()[1])
        elif section == "backend" and (server := _SERVER.match(line)):
            if " backup" in server[4]:
                found["backends"][backend]["backup"] += 1
            else:
                found["backends"][backend]["servers"].append(server[1])
    return found


def look_here() -> dict[str, Any]:
    """Look at this node."""
    import psutil  # noqa: PLC0415 - comes with Ray

    haproxies = []
    names: list[str] = []
    for process in psutil.process_iter(["pid", "name", "cmdline"]):
        line = process.info["cmdline"] or []
        title = line[0] if line else ""
        if title.startswith("ray::"):
            names.append(title.split("(", maxsplit=1)[0].strip())
        if process.info["name"] == "haproxy" and (path := _config_of(line)) is not None:
            haproxies.append({"pid": process.info["pid"], "listens": _ports(process), **read_config(_text(path))})
    env = {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
    return {"environment": env, "haproxy": haproxies, "processes": sorted(set(names)), "cores": os.cpu_count()}


def look_everywhere() -> list[dict[str, Any]]:
    """Look at every node that is alive."""
    import ray  # noqa: PLC0415 - only where there is a cluster
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - as above

    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    alive = [node for node in ray.nodes() if node["Alive"]]
    look = ray.remote(num_cpus=0)(look_here)
    pending = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in alive
    ]
    return [
        {"node": node["NodeManagerAddress"], **found}
        for node, found in zip(alive, ray.get(pending, timeout=60), strict=True)
    ]


def _config_of(command: list[str]) -> Path | None:
    if "-f" not in command[:-1]:
        return None
    return Path(command[command.index("-f") + 1])


def _ports(process: Any) -> list[int]:
    try:
        connections: Iterable[Any] = process.net_connections(kind="tcp")
    except Exception:  # noqa: BLE001 - psutil's errors of a process that is gone, or is somebody else's
        return []
    return sorted({connection.laddr.port for connection in connections if connection.status == "LISTEN"})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def main() -> int:
    """Print what is found."""
    sys.stdout.write(f"{MARK}{json.dumps(look_everywhere())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
