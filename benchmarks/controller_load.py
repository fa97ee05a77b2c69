"""One controller under a large fleet: how long its ticks take, what memory and CPU it needs.

A real `foreserve run` reads a simulated fleet (`benchmarks.fleet_server`) over real HTTP, page by page or, with
`--prometheus`, through a real Prometheus that scrapes it; all run on this machine.

    python -m benchmarks.controller_load --deployments 200 --replicas 1000 --nodes 100 --minutes 5
    python -m benchmarks.controller_load --prometheus --deployments 200 --replicas 5000 --nodes 600 --minutes 10
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from benchmarks.fleet_server import address

PORT = 8090
API_PORT = 9931
PROMETHEUS_PORT = 9932
_POLL_S = 1.0
_FILL_S = 45.0
"""Until a Prometheus has scraped all its targets a few times."""


def policy(deployments: int) -> str:
    """A policy with learning and forecasts on, as users have it."""
    entries = [
        {
            "application": f"app-{number}",
            "deployment": "LLMServer:tiny",
            "limits": {"min_replicas": 1, "max_replicas": 100},
            "capacity": {"target_ongoing_requests": 8},
        }
        for number in range(deployments)
    ]
    return json.dumps({"version": 1, "control": {"interval_s": 10}, "deployments": entries})


def started(command: Sequence[str], log: Path, cleanup: ExitStack) -> psutil.Process:
    """Start a process that ends with the benchmark."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    cleanup.callback(process.wait, 20)
    cleanup.callback(process.terminate)
    return psutil.Process(process.pid)


def prometheus(nodes: int, folder: Path) -> list[str]:
    """Write a Prometheus' configuration; return its command."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("needs the prometheus binary (apt install prometheus)")
    jobs = {"ray": [f"{address(node)}:{PORT}" for node in range(nodes)], "haproxy": [f"127.0.0.1:{PORT}"]}
    config = {
        "global": {"scrape_interval": "10s", "scrape_timeout": "9s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    return [
        program,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}",
    ]


def state() -> dict[str, object] | None:
    """The controller's newest record; None while there is none."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{API_PORT}/api/v1/state", timeout=5) as answer:
            return dict(json.load(answer))
    except OSError:
        return None


def main() -> None:
    """Run, watch, report; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("deployments", 200), ("replicas", 1000), ("nodes", 100), ("minutes", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--prometheus", action="store_true", help="read through a real Prometheus, not page by page")
    parser.add_argument("--all-series", action="store_true", help="serve also what Foreserve does not read")
    parser.add_argument("--keep", type=Path, help="folder for logs and the store (default: a temporary one)")
    given = parser.parse_args()
    with ExitStack() as cleanup:
        folder = given.keep or Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.yaml").write_text(policy(given.deployments), encoding="utf-8")
        fleet = [f"--{name}={getattr(given, name)}" for name in ("deployments", "replicas", "nodes")]
        fleet += [] if given.all_series else ["--catalogued-only"]
        server = [sys.executable, "-m", "benchmarks.fleet_server", f"--port={PORT}", *fleet]
        started(server, folder / "fleet.log", cleanup)
        time.sleep(3)
        if given.prometheus:
            started(prometheus(given.nodes, folder), folder / "prometheus.log", cleanup)
            time.sleep(_FILL_S)
            sources = [f"--prometheus-url=http://127.0.0.1:{PROMETHEUS_PORT}"]
        else:
            sources = [f"--ray-metrics-target=http://{address(node)}:{PORT}" for node in range(given.nodes)]
            sources.append(f"--haproxy-url=http://127.0.0.1:{PORT}")
        controller = started(
            [
                sys.executable,
                "-c",
                "from controller.cli.main import main; main()",
                "run",
                f"--policy={folder / 'policy.yaml'}",
                f"--serve-url=http://127.0.0.1:{PORT}",
                f"--store={folder / 'foreserve.db'}",
                f"--port={API_PORT}",
                *sources,
            ],
            folder / "controller.log",
            cleanup,
        )
        watch(controller, given.minutes * 60.0)


def watch(controller: psutil.Process, seconds: float) -> None:
    """Print each tick as it comes, and the sum of it at the end."""
    until, seen = time.monotonic() + seconds, 0
    ticks: list[dict[str, float]] = []
    memory: list[float] = []
    while time.monotonic() < until and controller.is_running():
        time.sleep(_POLL_S)
        memory.append(controller.memory_info().rss / 1e6)
        record = state()
        if record is None or record["tick"] == seen:
            continue
        seen = int(str(record["tick"]))
        steps = {name: float(taken) for name, taken in record["step_seconds"]}  # type: ignore[attr-defined]
        ticks.append(steps)
        top = ", ".join(f"{name} {taken:.2f}" for name, taken in sorted(steps.items(), key=lambda one: -one[1])[:5])
        said = list(record["degraded"])[:1]  # type: ignore[call-overload]
        print(f"tick {seen}: {sum(steps.values()):.2f} s ({top}); {memory[-1]:.0f} MB {said}", flush=True)
    cpu = controller.cpu_times()
    children = sum(child.memory_info().rss for child in controller.children(recursive=True)) / 1e6
    steady = ticks[len(ticks) // 3 :]
    if steady:
        print("\n| step | median s | p99 s |\n|---|---|---|")
        for name in steady[0]:
            taken = [tick.get(name, 0.0) for tick in steady]
            print(f"| {name} | {np.median(taken):.3f} | {np.quantile(taken, 0.99):.3f} |")
        whole = [sum(tick.values()) for tick in steady]
        print(f"| **tick** | {np.median(whole):.3f} | {np.quantile(whole, 0.99):.3f} |")
    print(f"\n{len(ticks)} ticks; memory at most {max(memory):.0f} MB, its children {children:.0f} MB; ", end="")
    print(f"CPU {(cpu.user + cpu.system) / seconds:.2f} cores; load of the machine {psutil.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
