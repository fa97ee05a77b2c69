"""Where the CPU time of one request goes, process by process: (c') HAProxy and a Serve replica, beside (d) plain vLLM.

Two cores are shared by everything here, the client included, so that throughput is one over the CPU time of a request.
Both run at once and take turns under the same closed loop. With ``--py-spy PROGRAM`` the process that speaks HTTP is
sampled, too, and the functions are told in which it spends its time itself.

    python -m benchmarks.serving_profile --users 24 --seconds 15 --py-spy py-spy
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from benchmarks.serving import Plan, plain_engines, ray_ways
from serving.tiny_model import make

_KINDS = (
    ("closed_loop", "client"),
    ("EngineCore", "engine"),
    ("VLLM::Worker", "engine's worker"),
    ("OpenAiIngress", "OpenAI ingress"),
    ("ServeReplica", "HTTP server of the engine"),
    ("api_server", "HTTP server of the engine"),
    ("serving.simulated.plain", "HTTP server of the engine"),
    ("ServeController", "Serve's controller"),
    ("ProxyActor", "Serve's proxy actor"),
    ("HAProxyManager", "Serve's proxy actor"),
    ("raylet", "raylet"),
    ("dashboard", "Ray's dashboard and agents"),
    ("gcs_server", "Ray's GCS"),
)
_SHOWN = 14


def kind(process: psutil.Process) -> str:
    """Say what a process is for."""
    if process.name() == "haproxy":
        return "HAProxy"
    line = " ".join(process.cmdline())
    return next((name for part, name in _KINDS if part in line), "everything else")


def cpu_seconds() -> dict[int, tuple[str, float]]:
    """Return kind and CPU seconds of every process."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = (kind(process), times.user + times.system)
    return found


def look(way: str, url: str, *, users: int, seconds: float, sampler: str | None) -> None:
    """Load one way, and tell what each kind of process took for a request."""
    command = [sys.executable, "-m", "benchmarks.closed_loop", f"--urls={url}", f"--users={users}"]
    client = subprocess.Popen([*command, f"--seconds={seconds}"], stdout=subprocess.PIPE, text=True)
    time.sleep(3)
    before, began = cpu_seconds(), time.monotonic()
    sampled = _sampled(way, before, sampler, seconds / 3) if sampler else ""
    time.sleep(max(0.0, seconds - 2 - (time.monotonic() - began)))
    after, took = cpu_seconds(), time.monotonic() - began
    told = json.loads(client.communicate(timeout=seconds + 60)[0])
    spent: Counter[str] = Counter()
    for pid, (name, used) in after.items():
        spent[name] += used - before.get(pid, (name, 0.0))[1]  # type: ignore[assignment]
    requests = told["rps"] * took
    print(f"{way}: {told['rps']:.0f} requests/s at {users} users, load {os.getloadavg()[0]:.0f}; CPU ms per request:")
    for name, used in spent.most_common():
        if used > 0.01 * took:
            print(f"  {1000 * used / requests:7.2f}  {name} ({used / took:.2f} cores)")
    print(sampled, flush=True)


def _sampled(way: str, processes: dict[int, tuple[str, float]], program: str, seconds: float) -> str:
    wanted = "HTTP server of the engine"
    pids = [pid for pid, (name, _) in processes.items() if name == wanted and _belongs(pid, way)]
    if not pids:
        return ""
    busiest = max(pids, key=lambda pid: processes[pid][1])
    with tempfile.NamedTemporaryFile() as out:
        command = [program, "record", "-p", str(busiest), "-d", f"{seconds:.0f}", "-r", "200", "--gil", "-f", "raw"]
        subprocess.run([*command, "-o", out.name], check=True, capture_output=True)
        stacks = [line.rpartition(" ") for line in Path(out.name).read_text().splitlines()]
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack, _, count in stacks:
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in set(frames):
            within[frame] += int(count)
    every = sum(own.values()) or 1
    lines = ["  its own time:"]
    lines += [f"  {100 * count / every:6.1f} %  {frame}" for frame, count in own.most_common(_SHOWN)]
    lines += ["  with what it calls:"]
    lines += [f"  {100 * count / every:6.1f} %  {frame}" for frame, count in within.most_common(3 * _SHOWN)]
    return "\n".join(lines)


def _belongs(pid: int, way: str) -> bool:
    line = " ".join(psutil.Process(pid).cmdline())
    return ("ServeReplica" in line and "LLMServer" in line) is (way != "plain")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["vllm", "none"], default="vllm")
    parser.add_argument("--users", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--ways", default="straight,plain")
    parser.add_argument("--py-spy", help="its program; nothing is sampled without it")
    wanted = parser.parse_args()
    ways = tuple(wanted.ways.split(","))
    folder = Path(".foreserve/models/tiny").resolve()
    make(folder)
    with tempfile.TemporaryDirectory(prefix="foreserve-logs-") as logs, ExitStack() as started:
        plan = Plan(
            engine=wanted.engine,
            model=str(folder),
            gpus=0,
            replicas=(1,),
            users=(wanted.users,),
            ways=ways,
            keep=Path(logs),
            logs=Path(logs),
        )
        urls: dict[str, list[str]] = {}
        for start in (plain_engines, ray_ways):
            urls |= started.enter_context(start(plan))(1, ways)
        for way in ways:
            look(way, urls[way][0], users=wanted.users, seconds=wanted.seconds, sampler=wanted.py_spy)


if __name__ == "__main__":
    main()
