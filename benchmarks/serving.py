"""Five ways to serve one model on this machine, side by side.

(a) python: Python proxy and OpenAI ingress, Ray Serve's earlier path (the proxy that stands by behind HAProxy, with the
newer switches of Serve in its favour); (b) haproxy: HAProxy before the same ingress;
(c) direct: HAProxy with Ray's direct streaming; (c') straight: the same without asking a router first, which is what
``serving`` does by default; (d) plain: the engine's own server without Ray. The same tiny model and the same client
(``benchmarks/closed_loop.py``, a closed loop). The ways take turns, cell by cell, in several rounds, so that what else
the machine does meets them alike. ``--engine none`` is the simulated engine at no cost, so that only what is around
it is measured; everything is up at once. ``--engine vllm`` is vLLM on CPUs: five engines would fight for two cores, so
only two are up at once, that of (c') and another one, and ways that were never up together are compared by way of (c').
On a node with GPUs ``--engine gpu`` takes ``--model`` (a folder or hub name), ``--gpus`` for a replica and
``--replicas``.

Every cell is kept as JSON under ``--keep``: what is there is not measured again, so that a run can be cut into short
ones (``--within-s 600``). ``--docs FILE`` writes the table and the chart between the markers.

    python -m benchmarks.serving --engine none --rounds 3
    python -m benchmarks.serving --engine vllm --rounds 2
    python -m benchmarks.serving --docs docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.serving_table import write_docs
from controller.clock import SystemClock
from controller.local import ray_cluster
from controller.local.calls import RequestFailedError, request, wait_for
from controller.local.children import Child
from controller.local.layout import Layout, clean_up, create
from controller.local.ports import Ports, claim
from serving.args import Backend, LLMArgs, Router
from serving.llm import LOCAL_ENGINE, build, llm_config
from serving.simulated.timing import SimulatedModel
from serving.tiny_model import make

__all__ = ["build", "llm_config"]

WAYS = ("python", "haproxy", "direct", "straight", "plain")
TOGETHER: Mapping[str, tuple[tuple[str, ...], ...]] = {
    # One engine behind the first two, one for each of the others.
    "vllm": (("python", "haproxy", "straight"), ("direct", "straight"), ("plain", "straight")),
}
"""Ways that are up at once, by engine; all of them where nothing is said."""
USERS = (1, 8, 24, 64)
SECONDS = 6.0
TOKENS = 32
_DIRECT = {"direct": Router.ROUND_ROBIN, "straight": Router.HAPROXY}
_APPLICATION = {"python": "haproxy", "haproxy": "haproxy", "direct": "direct", "straight": "straight"}
_PLAIN_PORT = 18_150
_CLOCK = SystemClock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement: a way, what is up beside it, and how much is asked of it."""

    way: str
    together: tuple[str, ...]
    replicas: int
    users: int
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured."""

    engine: str
    model: str
    gpus: int
    replicas: tuple[int, ...]
    users: tuple[int, ...]
    ways: tuple[str, ...]
    keep: Path
    logs: Path

    def args(self, count: int, router: Router) -> LLMArgs:
        """The application's arguments, the same for every way. Nothing naps: see docs/adr/0003."""
        common = {"model_id": "tiny", "num_replicas": count, "max_ongoing_requests": 1000, "router": router}
        if self.engine == "none":
            return LLMArgs(backend=Backend.SIMULATED, light=False, simulated=SimulatedModel(gpu=None), **common)
        if self.engine == "gpu":
            return LLMArgs(
                backend=Backend.GPU, model_source=self.model, tensor_parallel_size=self.gpus, cpus=1, **common
            )
        return LLMArgs(model_source=self.model, engine={"max_num_seqs": 64}, **common)

    def cell(self, one: Cell) -> Path:
        """Where one measurement is kept."""
        others = "" if set(one.together) == set(WAYS) else "~" + "+".join(one.together)
        return self.keep / f"{self.engine}-{one.way}{others}-{one.replicas}x-{one.users}u-{one.turn}.json"

    def missing(self, rounds: Sequence[int]) -> list[Cell]:
        """What was not measured yet, by replicas and by what is up together. Another way begins each round."""
        found = []
        for count in self.replicas:
            for group in TOGETHER.get(self.engine, (WAYS,)):
                ways = tuple(way for way in group if way in self.ways)
                if len(ways) < min(2, len(self.ways)):
                    continue  # nothing to compare with
                cells = [
                    Cell(way=way, together=group, replicas=count, users=users, turn=turn)
                    for turn in rounds
                    for users in self.users
                    for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]
                ]
                found += [one for one in cells if not self.cell(one).exists()]
        return found


ENVIRONMENT = {
    # Nothing naps here: see docs/adr/0003.
    "FORESERVE_QUIET_ENGINE": "",
    # Nobody waits for the leaving replicas.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    # On a busy machine the start may take longer than Ray's half a minute.
    "RAY_raylet_start_wait_time_s": "180",
}


@contextmanager
def ray_ways(plan: Plan) -> Iterator[Any]:
    """Start Ray with its ways; yields a function that sets the number of replicas and returns addresses by way."""
    ports = claim(Ports(openai=18_100, controller=18_101, prometheus=18_102, dashboard=18_103))
    layout = create(plan.logs, now=_CLOCK.now())
    token = secrets.token_hex(32)
    env = ray_cluster.ray_environment(os.environ, layout, ports, token) | ENVIRONMENT
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    if plan.engine == "gpu":
        for name in ("VLLM_TARGET_DEVICE", "OMP_NUM_THREADS", "TORCH_COMPILE_DISABLE", "HF_HUB_OFFLINE"):
            env.pop(name, None)
    child: Child | None = None
    try:
        child = ray_cluster.start(layout, ports, env, cpus=64)
        url = f"http://127.0.0.1:{ports.dashboard}"
        _wait(lambda: ray_cluster.require_up(url, token), 120, "the Ray dashboard")

        def replicas(count: int, ways: Sequence[str]) -> dict[str, list[str]]:
            deployed = sorted({_APPLICATION[way] for way in ways if way in _APPLICATION})
            body = {
                "proxy_location": "EveryNode",
                "http_options": {"host": "127.0.0.1", "port": ports.openai},
                "applications": [_application(one, plan, count) for one in deployed],
            }
            request(f"{url}/api/serve/applications/", method="PUT", body=body, token=token, timeout_s=120)
            _wait(lambda: _require_replicas(url, token, deployed, count), 600, f"{count} replicas")
            front = {way: ports.fallback_proxy if way == "python" else ports.openai for way in ways}
            return {way: [f"http://127.0.0.1:{front[way]}/{_APPLICATION[way]}"] for way in ways if way in _APPLICATION}

        yield replicas
    finally:
        _take_down(layout, child)


@contextmanager
def plain_engines(plan: Plan) -> Iterator[Any]:
    """Start engines without Ray; users take turns over their addresses."""
    children: list[subprocess.Popen[bytes]] = []
    logs = plan.logs / "plain"
    logs.mkdir(parents=True, exist_ok=True)

    def replicas(count: int, ways: Sequence[str]) -> dict[str, list[str]]:
        if "plain" not in ways:
            _end(children)
            return {}
        while len(children) < count:
            port = _PLAIN_PORT + len(children)
            with (logs / f"{port}.log").open("w") as output:
                command, env = _plain_command(plan, port)
                children.append(
                    subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
                )
            _wait(lambda port=port: request(f"http://127.0.0.1:{port}/health", timeout_s=2), 600, "the engine")
        return {"plain": [f"http://127.0.0.1:{_PLAIN_PORT + index}" for index in range(count)]}

    try:
        yield replicas
    finally:
        _end(children)


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    children.clear()


def measure(plan: Plan, rounds: Sequence[int], *, within_s: float) -> None:
    """Measure the missing cells: the ways that are up together take turns cell by cell.

    What else the machine does then meets them alike.
    """
    until = time.monotonic() + within_s
    missing = plan.missing(rounds)
    if not missing:
        return
    with ExitStack() as started:
        up = [started.enter_context(plain_engines(plan))] if "plain" in plan.ways else []
        if set(plan.ways) & set(_APPLICATION):
            up.append(started.enter_context(ray_ways(plan)))
        for (count, together), cells in groupby(missing, key=lambda one: (one.replicas, one.together)):
            urls: dict[str, list[str]] = {}
            for replicas in up:
                urls |= replicas(count, together)
            for way in urls:
                # Nobody is measured while caches and connections are new.
                _client(urls[way], users=8, seconds=2.0)
            for one in cells:
                if time.monotonic() > until:
                    print("time is up; run it again for the rest", flush=True)
                    return
                _measure_one(plan, urls[one.way], one)


def _measure_one(plan: Plan, urls: Sequence[str], one: Cell) -> None:
    # vLLM's processes spin for a second after their last message.
    time.sleep(1.2)
    result = _client(urls, users=one.users, seconds=SECONDS)
    told = {"way": one.way, "together": one.together, "replicas": one.replicas, "round": one.turn}
    plan.cell(one).write_text(json.dumps(result | told | {"engine": plan.engine}, indent=1))
    print(
        f"{plan.engine} round {one.turn}, {one.replicas} x, {one.users:3d} users, {one.way:9s} "
        f"{result['rps']:7.1f} requests/s, TTFT p50 "
        f"{result['ttft_p50_ms']:7.1f} p99 {result['ttft_p99_ms']:7.1f} ms, failed {result['failed']}, "
        f"load {result['load_before']:.1f} {result['problems'] or ''}",
        flush=True,
    )


def _client(urls: Sequence[str], *, users: int, seconds: float) -> dict[str, Any]:
    before, busy = os.getloadavg()[0], _other_cpu()
    command = [sys.executable, "-m", "benchmarks.closed_loop", f"--urls={','.join(urls)}", f"--users={users}"]
    command += [f"--seconds={seconds}", f"--tokens={TOKENS}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=200)
    return dict(json.loads(done.stdout)) | {"load_before": before, "cpu_before": busy}


def _other_cpu() -> float:
    """Cores that were busy during the last moment before a measurement: the machine's other work."""
    import psutil  # noqa: PLC0415 - one place

    return psutil.cpu_percent(0.5) / 100 * (os.cpu_count() or 1)


def _application(way: str, plan: Plan, count: int) -> dict[str, Any]:
    direct = way in _DIRECT
    args = plan.args(count, _DIRECT.get(way, Router.ROUND_ROBIN))
    return {
        "name": way,
        "route_prefix": f"/{way}",
        "import_path": "serving.llm:build" if direct else "benchmarks.serving:build_behind_ingress",
        "args": args.model_dump(mode="json", exclude_unset=True),
        "runtime_env": {"env_vars": {"RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": str(int(direct))}},
    }


def build_behind_ingress(args: dict[str, Any]) -> Any:
    """Build the same model behind Ray's OpenAI ingress: two ingress replicas for a model's, as Ray itself would."""
    from ray.serve.llm import build_openai_app  # noqa: PLC0415 - costs ten seconds; only Serve needs it

    wanted = LLMArgs.model_validate(args)
    ingress = {"num_replicas": 2 * wanted.num_replicas, "autoscaling_config": None, "max_ongoing_requests": 1000}
    ingress["ray_actor_options"] = {"num_cpus": 0.1}
    return build_openai_app({"llm_configs": [llm_config(wanted)], "ingress_deployment_config": ingress})


def _require_replicas(dashboard: str, token: str, ways: Sequence[str], count: int) -> None:
    answer = json.loads(request(f"{dashboard}/api/serve/applications/", token=token))
    for way in ways:
        state = answer["applications"].get(way, {})
        if state.get("status") == "DEPLOY_FAILED":
            why = [one.get("message", "")[-1500:] for one in state.get("deployments", {}).values()]
            msg = f"Serve says DEPLOY_FAILED: {state.get('message')}; {why}"
            raise SystemExit(msg)
        ray_cluster.require_running(state)
        for deployment in state["deployments"].values():
            running = [replica for replica in deployment["replicas"] if replica["state"] == "RUNNING"]
            wanted = count if deployment["name"].startswith("LLMServer") else deployment["target_num_replicas"]
            if len(running) != wanted or len(deployment["replicas"]) != wanted:
                msg = f"{way}: {deployment['name']}: {len(running)} of {wanted} run"
                raise RequestFailedError(msg)


def _plain_command(plan: Plan, port: int) -> tuple[list[str], dict[str, str]]:
    env = dict(os.environ)
    if plan.engine == "none":
        return [sys.executable, "-m", "serving.simulated.plain", str(port), '{"gpu": null}'], env
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--port={port}", "--host=127.0.0.1"]
    command += [f"--model={plan.model}", "--served-model-name=tiny", "--disable-uvicorn-access-log"]
    if plan.engine == "gpu":
        index = port - _PLAIN_PORT
        devices = range(index * plan.gpus, (index + 1) * plan.gpus)
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, devices))
        return [*command, f"--tensor-parallel-size={plan.gpus}"], env
    for name, value in (LOCAL_ENGINE | {"max_num_seqs": 64}).items():
        flag = f"--{name.replace('_', '-')}"
        command += [flag] if value is True else [flag, str(value)]
    known = ("VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS", "TORCH_COMPILE_DISABLE", "VLLM_TARGET_DEVICE")
    from serving import environment  # noqa: PLC0415 - one place

    local = environment.replica()
    return command, env | {name: local[name] for name in (*known, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}


def _take_down(layout: Layout, child: Child | None) -> None:
    segments = layout.run.segments()
    if child is not None:
        child.stop(15)
    for remains in clean_up(layout.run, began=0.0, patience_s=4.0, segments=segments):
        print(f"  left behind: {remains}")


def _wait(attempt: Any, timeout_s: float, what: str) -> None:
    wait_for(attempt, clock=_CLOCK, pause=time.sleep, timeout_s=timeout_s, what=what)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["vllm", "none", "gpu"], default="none")
    parser.add_argument("--model", default="", help="folder or hub name of the model; the tiny one when absent")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs of one replica")
    parser.add_argument("--replicas", default="1,2")
    parser.add_argument("--users", default=",".join(map(str, USERS)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--within-s", type=float, default=3600.0, help="begin no further cell after so long")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--keep", type=Path, default=Path("out/serving"), help="one JSON file for each cell")
    parser.add_argument("--docs", type=Path, help="write the table there and measure nothing")
    wanted = parser.parse_args()
    if wanted.docs:
        write_docs(wanted.docs, wanted.keep)
        return
    wanted.keep.mkdir(parents=True, exist_ok=True)
    model = wanted.model
    if wanted.engine == "vllm" and not model:
        folder = Path(".foreserve/models/tiny").resolve()
        make(folder)
        model = str(folder)
    with tempfile.TemporaryDirectory(prefix="foreserve-logs-") as logs:
        plan = Plan(
            engine=wanted.engine,
            model=model,
            gpus=wanted.gpus,
            replicas=tuple(int(text) for text in wanted.replicas.split(",")),
            users=tuple(int(text) for text in wanted.users.split(",")),
            ways=tuple(wanted.ways.split(",")),
            keep=wanted.keep,
            logs=Path(os.environ.get("FORESERVE_BENCH_LOGS", logs)),
        )
        measure(plan, range(1, wanted.rounds + 1), within_s=wanted.within_s)


if __name__ == "__main__":
    main()
