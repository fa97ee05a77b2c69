"""What clients see when a part of the serving path dies: an engine, a replica, HAProxy. On this machine, vLLM on CPUs.

Two replicas, four users in a closed loop; after some seconds one process is killed (SIGKILL). Told are the requests
that failed, and how long a probe of a new connection every 50 ms failed. Then Serve may bring everything back.

    python -m benchmarks.serving_faults
    python -m benchmarks.serving_faults --only haproxy --engine none
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.serving import Plan, ray_ways
from serving.tiny_model import make

_WAY = "straight"
_PROBE_S = 0.05
_BEFORE_S = 8.0


@dataclass
class Probe:
    """Asks for a path again and again, each time over a new connection; notes when that failed."""

    url: str
    failed_at: list[float] = field(default_factory=list)
    asked: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Go on until ``over``."""
        while not self.over.wait(_PROBE_S):
            self.asked += 1
            try:
                urllib.request.urlopen(self.url, timeout=2).close()
            except (OSError, urllib.error.HTTPError):
                self.failed_at.append(time.monotonic())


def _engine(process: psutil.Process) -> bool:
    return any("EngineCore" in part for part in process.cmdline()[:1])


def _replica(process: psutil.Process) -> bool:
    return any(part.startswith("ray::ServeReplica") and "LLMServer" in part for part in process.cmdline()[:1])


def _haproxy(process: psutil.Process) -> bool:
    return process.name() == "haproxy"


FAULTS: dict[str, Callable[[psutil.Process], bool]] = {"engine": _engine, "replica": _replica, "haproxy": _haproxy}


def victim(is_it: Callable[[psutil.Process], bool]) -> psutil.Process:
    """Return one such process."""
    for process in psutil.process_iter():
        try:
            if is_it(process):
                return process
        except psutil.Error:
            continue
    msg = "there is no such process"
    raise SystemExit(msg)


def strike(name: str, url: str, back: Callable[[], object], *, seconds: float) -> None:
    """Kill one part under load, and tell what came of it."""
    parts = urlsplit(url)
    probe = Probe(f"{url}/v1/models" if name != "haproxy" else f"{parts.scheme}://{parts.netloc}/-/routes")
    probing = threading.Thread(target=probe.run, daemon=True)
    command = [sys.executable, "-m", "benchmarks.closed_loop", f"--urls={url}", "--users=4", f"--seconds={seconds}"]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    probing.start()
    time.sleep(_BEFORE_S)
    process = victim(FAULTS[name])
    killed = time.monotonic()
    process.send_signal(signal.SIGKILL)
    told = json.loads(client.communicate(timeout=seconds + 120)[0])
    probe.over.set()
    probing.join()
    late = [at - killed for at in probe.failed_at if at >= killed]
    outage = f"{len(late)} of {probe.asked} probes failed" + (f", the last one after {late[-1]:.1f} s" if late else "")
    print(
        f"{name:8s} killed: {told['failed']} of {told['requests'] + told['failed']} requests failed "
        f"{told['problems'] or ''}; {outage}",
        flush=True,
    )
    back()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["vllm", "none"], default="vllm")
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--seconds", type=float, default=40.0, help="of load for each fault")
    wanted = parser.parse_args()
    folder = Path(".foreserve/models/tiny").resolve()
    make(folder)
    with tempfile.TemporaryDirectory(prefix="foreserve-logs-") as logs:
        plan = Plan(
            engine=wanted.engine,
            model=str(folder),
            gpus=0,
            replicas=(2,),
            users=(4,),
            ways=(_WAY,),
            keep=Path(logs),
            logs=Path(logs),
        )
        with ray_ways(plan) as replicas:
            (url,) = replicas(2, (_WAY,))[_WAY]
            for name in wanted.only.split(","):
                strike(name, url, lambda: replicas(2, (_WAY,)), seconds=wanted.seconds)


if __name__ == "__main__":
    main()
