"""A step to four times the load in guided mode, with the controller alive and with it killed before.

Serve scales a simulated fleet (L4 with eight sequences at a time, 8 s to start) by ``serving.policies``; the controller
is the real one with a policy that announces the step as an event, as an operator does who knows of it. Both runs have
the same open-loop traffic, sent by ``foreserve load``; in the second one the controller is killed (SIGKILL) before the
traffic starts. Prints both runs: failed requests, time to first token, and the replicas over time.

    python -m benchmarks.guided_step
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from serving.args import Backend, GuidedArgs, LLMArgs
from serving.llm import application
from serving.simulated.timing import SimulatedModel
from tests.stack.conftest import free_ports
from tests.stack.serving_cluster import CLOCK, ServingCluster, serving_cluster

SERVER = "LLMServer:llama"
CALM_S, STEP_S = 20, 30
CALM_RPS = 1.5
FORESERVE = [sys.executable, "-c", "from controller.cli.main import main; main()"]


def policy(step_at: float) -> str:
    """Announce the step: the controller has replicas ready when an event begins."""
    begins = dt.datetime.fromtimestamp(step_at, dt.UTC).isoformat(timespec="seconds")
    return f"""
version: 1
mode: guided
control: {{interval_s: 2, window_s: 12, max_signal_age_s: 15}}
deployments:
  - application: chat
    deployment: {SERVER}
    limits: {{min_replicas: 1, max_replicas: 6}}
    capacity: {{target_ongoing_requests: 6, max_num_seqs: 8, learn: false}}
    objectives: {{ttft_s: 1.0, itl_s: 0.2}}
    lead_time: {{assumed_s: 8}}
    events:
      - {{name: launch, start: "{begins}", duration_s: {STEP_S}, min_replicas: 4}}
"""


def run_once(cluster: ServingCluster, folder: Path, *, alive: bool) -> dict[str, Any]:
    """One calm stretch and one step."""
    folder.mkdir()
    guided = GuidedArgs(
        max_replicas=6,
        target_ongoing_requests=6,
        controller_url=f"http://127.0.0.1:{cluster.ports.controller}",
        floor_max_age_s=10,
        downscale_delay_s=60,
    )
    model = SimulatedModel(gpu="L4", max_num_seqs=8, start_s=8)
    args = LLMArgs(model_id="llama", backend=Backend.SIMULATED, simulated=model, guided=guided, build=folder.name)
    cluster.put([application("chat", args)])
    cluster.wait(lambda: cluster.ready("chat", SERVER) == 1, 90, "one replica")
    starts = CLOCK.now() + 12
    (folder / "policy.yaml").write_text(policy(starts + CALM_S))
    env = cluster.controller_env(folder)
    with (folder / "controller.log").open("w") as log:
        controller = subprocess.Popen([*FORESERVE, "run"], env=env, stdout=log, stderr=log)
    time.sleep(max(0.0, starts - CLOCK.now() - 2))
    if controller.poll() is not None:
        raise SystemExit((folder / "controller.log").read_text()[-2000:])
    if not alive:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    stages = f"--stages={CALM_RPS}x{CALM_S},{4 * CALM_RPS}x{STEP_S}"
    command = [*FORESERVE, "load", cluster.url, "--model", "llama", stages, "--prompt-tokens=128", "--output-tokens=48"]
    load = subprocess.Popen([*command, f"--out={folder / 'rows.jsonl'}"], env=env, stdout=subprocess.DEVNULL)
    replicas = []
    while load.poll() is None:
        replicas.append(cluster.ready("chat", SERVER))
        time.sleep(1)
    if alive:
        controller.terminate()
        controller.wait(20)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "status" in row]
    step = sorted(row["ttft_s"] for row in rows if row["ttft_s"] is not None and row["scheduled_s"] >= CALM_S)
    return {
        "controller": "alive" if alive else "killed",
        "requests": len(rows),
        "failed": sum(row["status"] != "ok" for row in rows),
        "ttft_p50_s": step[len(step) // 2],
        "ttft_p99_s": step[int(0.99 * (len(step) - 1))],
        "replicas": replicas,
    }


def main() -> None:
    """Run both, several times in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["alive", "killed"], help="one of the two runs")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serving_cluster(Path(scratch), free_ports(), lean=True) as cluster:
        for turn in range(wanted.rounds):
            for alive in (True, False):
                if wanted.only and alive != (wanted.only == "alive"):
                    continue
                before = os.getloadavg()[0]
                found = run_once(cluster, Path(scratch) / f"{turn}-{'alive' if alive else 'killed'}", alive=alive)
                print(json.dumps(found | {"load_average": round(before, 1)}), flush=True)


if __name__ == "__main__":
    main()
