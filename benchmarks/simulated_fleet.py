"""Thirty replicas of the simulated engine on this machine, ordered by the real controller. Everything else is real.

Ray, Serve, HAProxy and the controller run; the replicas pretend to be L4s that take 20 s to start. The traffic is an
open loop, and the policy announces what it will be: from two replicas to thirty and back to two. Prints the replicas
every few seconds, the memory in use on the machine, and what clients saw.

    python -m benchmarks.simulated_fleet
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from tests.stack.conftest import ROOT, free_ports
from tests.stack.serving_cluster import CLOCK, ServingCluster, serving_cluster

SERVER = "LLMServer:llama"
FORESERVE = [sys.executable, "-c", "from controller.cli.main import main; main()"]
MOST = 30


def policy(step_at: float, lasts_s: float) -> str:
    """Announce the peak."""
    begins = dt.datetime.fromtimestamp(step_at, dt.UTC).isoformat(timespec="seconds")
    return f"""
version: 1
control: {{interval_s: 5, window_s: 20, max_signal_age_s: 30}}
deployments:
  - application: chat
    deployment: {SERVER}
    limits: {{min_replicas: 2, max_replicas: {MOST}, max_step_up: {MOST}, max_step_down: {MOST}}}
    capacity: {{target_ongoing_requests: 8, max_num_seqs: 16, learn: false}}
    objectives: {{ttft_s: 2.0, itl_s: 0.3}}
    lead_time: {{assumed_s: 60}}
    stabilisation: {{downscale_delay_s: 20}}
    events:
      - {{name: peak, start: "{begins}", duration_s: {lasts_s:.0f}, min_replicas: {MOST}}}
"""


def run(cluster: ServingCluster, folder: Path, *, rps: float, calm_s: float, seconds: float) -> None:
    """Deploy two, announce thirty, send traffic, and watch."""
    (application,) = yaml.safe_load((ROOT / "manifests/examples/serving/fleet.local.yaml").read_text())["applications"]
    application["args"] |= {"num_replicas": 2}
    cluster.put([application])
    peak_at = CLOCK.now() + calm_s
    (folder / "policy.yaml").write_text(policy(peak_at, seconds))
    env = cluster.controller_env(folder)
    stages = f"--stages={rps / 10}x{calm_s:.0f},{rps}x{seconds:.0f}"
    command = [*FORESERVE, "load", cluster.url, "--model", "llama", stages, "--prompt-tokens=128", "--output-tokens=64"]
    with (folder / "controller.log").open("w") as log:
        controller = subprocess.Popen([*FORESERVE, "run"], env=env, stdout=log, stderr=log)
        load = subprocess.Popen([*command, f"--out={folder / 'rows.jsonl'}"], env=env, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        most_gb, back = 0.0, False
        while not (back or time.monotonic() - began > calm_s + seconds + 150):
            state = cluster.deployment("chat", SERVER)
            ready, there = cluster.ready("chat", SERVER), len(state["replicas"])
            used = _gigabytes()
            most_gb = max(most_gb, used)
            back = load.poll() is not None and there == 2  # noqa: PLR2004 - where it began
            print(
                f"{time.monotonic() - began - calm_s:+5.0f} s from the peak: target {state['target_num_replicas']:2d}, "
                f"{there:2d} there, {ready:2d} ready, {used:.1f} GB, load {os.getloadavg()[0]:.0f}",
                flush=True,
            )
            time.sleep(8)
        controller.terminate()
        controller.wait(20)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "status" in row]
    peak = sorted(row["ttft_s"] for row in rows if row["ttft_s"] is not None and row["scheduled_s"] >= calm_s)
    failed = sum(row["status"] != "ok" for row in rows)
    print(
        f"{len(rows)} requests, {failed} failed; in the peak time to first token p50 {peak[len(peak) // 2]:.2f} s, "
        f"p99 {peak[int(0.99 * (len(peak) - 1))]:.2f} s; most memory {most_gb:.1f} GB"
    )


def _gigabytes() -> float:
    """Memory in use on the whole machine."""
    return psutil.virtual_memory().used / 1e9


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rps", type=float, default=20.0, help="requests per second in the peak; a tenth before it")
    parser.add_argument("--calm", type=float, default=90.0, help="seconds before the peak")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the peak")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serving_cluster(Path(scratch), free_ports(), lean=True) as cluster:
        run(cluster, Path(scratch), rps=wanted.rps, calm_s=wanted.calm, seconds=wanted.seconds)


if __name__ == "__main__":
    main()
