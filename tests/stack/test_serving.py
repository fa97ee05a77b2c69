"""The serving patterns through HTTP, on Ray, Serve and HAProxy as they are. Engines are simulated; one Ray for all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from controller.store.reader import StoreReader
from serving.args import Backend, GuidedArgs, LLMArgs
from serving.llm import application
from serving.simulated.timing import SimulatedModel
from tests.stack.conftest import ROOT, free_ports
from tests.stack.observer import MEASURED
from tests.stack.serving_cluster import ServingCluster, serving_cluster
from tests.stack.users import Users

EXAMPLES = ROOT / "manifests/examples/serving"
SERVER = "LLMServer:llama"
QUICK = SimulatedModel(gpu="H100")
# Each deployment waits until what it replaces has left.
_DRAINING = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5"}


def example(name: str, **args: Any) -> list[dict[str, Any]]:
    """One of the shipped configs; ``args`` change those of every application that has them."""
    text = (EXAMPLES / f"{name}.local.yaml").read_text()
    found = yaml.safe_load(text)["applications"]
    for one in found:
        one["args"] |= {key: value for key, value in args.items() if key in one["args"]}
    return list(found)


def simulated(name: str = "chat", *, route: str = "/", **more: Any) -> dict[str, Any]:
    return application(name, LLMArgs(model_id="llama", backend=Backend.SIMULATED, **more), route_prefix=route)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingCluster]:
    with serving_cluster(tmp_path_factory.mktemp("serving"), free_ports(), lean=True, **_DRAINING) as started:
        yield started


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("secret-key\n")
    return path


@pytest.fixture(scope="module")
def patterns(cluster: ServingCluster, keys: Path) -> ServingCluster:
    """What needs no cluster of its own, deployed together: several applications, each for itself."""
    guarded = simulated("guarded", route="/guarded", simulated=QUICK, api_keys_file=str(keys), shed_above=2)
    shipped = [*example("several-apps"), *example("pipeline"), *example("batching"), *example("custom")]
    cluster.put([guarded, *shipped])
    return cluster


def ask(url: str, *, key: str | None = None, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8} | more
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    wanted = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(wanted, timeout=30) as answer:
            return answer.status, json.loads(answer.read()), _lower(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}"), _lower(error.headers)


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_a_key_is_asked_for(patterns: ServingCluster) -> None:
    url = f"{patterns.url}/guarded"

    assert ask(url)[0] == 401
    assert ask(url, key="wrong")[0] == 401
    assert ask(url, key="secret-key")[0] == 200


def test_what_is_too_much_is_sent_away_with_a_time_to_come_back(patterns: ServingCluster) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: ask(f"{patterns.url}/guarded", key="secret-key", max_tokens=400), range(12)))

    refused = [headers for status, _, headers in answers if status == 429]
    assert {status for status, *_ in answers} == {200, 429}
    assert all(int(headers["retry-after"]) >= 1 for headers in refused)


def test_applications_are_reached_and_scaled_each_by_itself(patterns: ServingCluster) -> None:
    assert ask(f"{patterns.url}/small")[1]["model"] == "small"
    assert ask(f"{patterns.url}/large")[1]["model"] == "large"

    patterns.scale("small", "LLMServer:small", 2)

    patterns.wait(lambda: patterns.ready("small", "LLMServer:small") == 2, 60, "two small ones")
    assert patterns.ready("large", "LLMServer:large") == 2


def test_a_pipeline_asks_both_models_and_scales_by_stage(patterns: ServingCluster) -> None:
    answer = patterns.post("/pipeline/v1/answer", {"text": " two   words ", "max_tokens": 5})

    assert answer["text"] == "two words"
    assert set(answer["answers"]) == {"quick", "thorough"}
    assert answer["missing"] == {}
    stages = patterns.applications()["pipeline"]["deployments"]
    assert set(stages) == {"Prepare", "Merge", "LLMServer:quick", "LLMServer:thorough"}


def test_requests_that_come_together_are_computed_together(patterns: ServingCluster) -> None:
    def together() -> bool:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda i: patterns.post("/embed", {"text": f"text {i}"}), range(16)))
        assert all(len(answer["vector"]) == 64 for answer in answers)
        return max(answer["batch"] for answer in answers) >= 4

    # They have 50 ms to arrive in.
    patterns.wait(together, 20, "four of sixteen in a batch")


def test_own_code_stands_before_and_after_the_engine(patterns: ServingCluster) -> None:
    status, answer, headers = ask(f"{patterns.url}/custom")

    assert status == 200
    assert headers["x-prepared-by"] == "serving.patterns.custom"
    # "hello" and the instructions, four characters each.
    assert answer["usage"]["prompt_tokens"] == 2 + 4


def test_a_rollout_and_the_way_down_cut_no_stream(cluster: ServingCluster) -> None:
    model = SimulatedModel(gpu="L4", max_num_seqs=32)
    cluster.put([simulated(simulated=model, num_replicas=2, build="v1")])
    before = {one["replica_id"] for one in cluster.deployment("chat", SERVER)["replicas"]}
    users = Users(cluster.url, 24)

    cluster.put([simulated(simulated=model, num_replicas=2, build="v2")])
    after = {one["replica_id"] for one in cluster.deployment("chat", SERVER)["replicas"]}
    cluster.scale("chat", SERVER, 1)
    cluster.wait(lambda: len(cluster.deployment("chat", SERVER)["replicas"]) == 1, 60, "one replica")
    result = users.answered()

    MEASURED.append(f"rollout and 2 to 1 under 24 users: {result.requests} streams, {result.failed} failed")
    assert not before & after
    assert result.failed == 0, result.problems
    assert result.requests > 50


def test_preflight_sees_the_fast_path_in_effect(cluster: ServingCluster) -> None:
    cluster.put([simulated(simulated=QUICK)])
    haproxy = f"http://127.0.0.1:{cluster.ports.haproxy_metrics}"
    command = [sys.executable, "-c", "from controller.cli.main import main; main()", "preflight", "serving", "--json"]
    command += [f"--url={cluster.url}", "--model=llama", f"--serve-url={cluster.dashboard}", f"--haproxy-url={haproxy}"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_TOKEN": cluster.token}

    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=120)

    assert done.stdout, done.stderr
    checks = {check["name"].partition(": ")[2] or check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    for name in (
        "HAProxy",
        "HAProxy's configuration",
        "requests through HAProxy",
        "direct streaming",
        "token by token",
    ):
        assert checks[name]["status"] == "ok", checks[name]


def test_a_killed_haproxy_is_back_within_seconds_and_ready_counts_live_replicas_only(cluster: ServingCluster) -> None:
    cluster.put([simulated(simulated=QUICK)])
    cluster.wait(lambda: _status(f"{cluster.url}/-/ready") == 200, 20, "ready")
    # The process before a reload may still listen for a moment.
    cluster.wait(lambda: len(_haproxies(cluster)) == 1, 20, "one HAProxy")
    (haproxy,) = _haproxies(cluster)
    assert _listens(haproxy, cluster)[cluster.ports.haproxy_stats] == {"127.0.0.1"}

    haproxy.kill()
    gone = cluster.wait(lambda: _status(f"{cluster.url}/v1/models") != 200, 10, "HAProxy is gone")
    away = cluster.wait(lambda: _status(f"{cluster.url}/v1/models") == 200, 30, "HAProxy is back")

    MEASURED.append(f"HAProxy killed: answers again after {gone + away:.1f} s")
    cluster.scale("chat", SERVER, 0)
    cluster.wait(lambda: _status(f"{cluster.url}/-/ready") == 503, 60, "no live replica")
    assert _status(f"{cluster.url}/-/healthz") == 200


def _haproxies(cluster: ServingCluster) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["name"]) if one.info["name"] == "haproxy" and _listens(one, cluster)]


def _listens(process: psutil.Process, cluster: ServingCluster) -> dict[int, set[str]]:
    """Return addresses by port, where it is the one that holds the service's port; else nothing."""
    found: dict[int, set[str]] = {}
    with suppress(psutil.NoSuchProcess):
        for one in process.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN:
                found.setdefault(one.laddr.port, set()).add(one.laddr.ip)
    return found if cluster.ports.openai in found else {}


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class _Floors(BaseHTTPRequestHandler):
    floor = 3

    def do_GET(self) -> None:
        floor = {"application": "chat", "deployment": SERVER, "replicas": self.floor, "age_s": 0.0}
        body = json.dumps({"floors": [floor]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_serve_follows_the_floor_and_goes_on_without_the_controller(cluster: ServingCluster) -> None:
    controller = ThreadingHTTPServer(("127.0.0.1", 0), _Floors)
    threading.Thread(target=controller.serve_forever, daemon=True).start()
    guided = GuidedArgs(
        max_replicas=4,
        target_ongoing_requests=4,
        controller_url=f"http://127.0.0.1:{controller.server_port}",
        floor_max_age_s=5,
        downscale_delay_s=2,
    )
    cluster.put([simulated(simulated=SimulatedModel(gpu="L4"), guided=guided)])

    def target() -> int:
        return int(cluster.deployment("chat", SERVER)["target_num_replicas"])

    followed = cluster.wait(lambda: target() == 3, 30, "the floor is followed")
    controller.shutdown()
    controller.server_close()
    forgotten = cluster.wait(lambda: target() == 1, 60, "the floor is forgotten")
    users = Users(cluster.url, 16)
    absorbed = cluster.wait(lambda: target() == 4, 25, "Serve scales by itself")
    users.answered()
    MEASURED.append(f"guided: floor after {followed:.1f} s, forgotten {forgotten:.1f} s, own {absorbed:.1f} s")


def _split(cluster: ServingCluster, token: Path, *, slowdown: float) -> str:
    """Deploy two builds and the splitter; return its address. Nothing goes to the canary yet."""
    token.write_text("split-token")
    split = example("canary")[2]
    split["args"] = {
        "stable": f"{cluster.url}/stable",
        "canary": f"{cluster.url}/canary",
        "token_file": str(token),
    }
    cluster.put(
        [
            simulated("stable", route="/stable", simulated=QUICK),
            simulated("canary", route="/canary", simulated=QUICK.model_copy(update={"slowdown": slowdown})),
            split,
        ]
    )
    return f"{cluster.url}/split"


def _told(split: str) -> dict[str, Any]:
    return dict(json.loads(urllib.request.urlopen(f"{split}/-/split", timeout=10).read()))


def test_a_good_build_completes(cluster: ServingCluster, tmp_path: Path) -> None:
    split = _split(cluster, tmp_path / "token", slowdown=1.0)
    users = Users(split, 8, tokens=8)
    command = [sys.executable, "-c", "from controller.cli.main import main; main()", "canary", split]
    command += [f"--token-file={tmp_path / 'token'}", "--steps=10,50,100", "--hold=2", "--longest=60"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [*command, "--min-requests=20"], env=env, capture_output=True, text=True, timeout=300, check=False
    )

    result = users.answered()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed" in done.stdout
    assert _told(split)["share"] == 1.0
    assert result.failed == 0, result.problems


def test_the_controller_takes_a_slow_build_back(cluster: ServingCluster, tmp_path: Path) -> None:
    split = _split(cluster, tmp_path / "token", slowdown=20.0)
    (tmp_path / "policy.yaml").write_text(f"""
version: 1
control: {{interval_s: 1, window_s: 5, max_signal_age_s: 10}}
deployments:
  - application: stable
    deployment: {SERVER}
    limits: {{max_replicas: 1}}
    capacity: {{target_ongoing_requests: 99}}
canaries:
  - name: chat
    build: v2
    split_url: {split}
    token_file: {tmp_path / "token"}
    steps: [0.1, 0.5, 1.0]
    hold_s: 3
    longest_s: 90
    min_requests: 20
""")
    env = {name: value for name, value in os.environ.items() if not name.startswith("FORESERVE_")} | {
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_TOKEN": cluster.token,
        "FORESERVE_POLICY": str(tmp_path / "policy.yaml"),
        "FORESERVE_SERVE_URL": cluster.dashboard,
        "FORESERVE_STORE": str(tmp_path / "store.db"),
        "FORESERVE_PORT": str(cluster.ports.controller),
    }
    controller_url = f"http://127.0.0.1:{cluster.ports.controller}"
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-c", "from controller.cli.main import main; main()", "run"]
        controller = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    users = Users(split, 8, tokens=8)
    try:
        took = cluster.wait(lambda: _phase(controller_url) == "taken_back", 60, "the canary is taken back")
        result = users.answered()
    finally:
        users.leave()
        controller.terminate()
        controller.wait(20)
    records = StoreReader(tmp_path / "store.db").records(deployment=None, last=200)
    phases = list(dict.fromkeys(one.progress.phase.value for record in records for one in record.canaries))
    why = records[-1].canaries[0].progress.why
    MEASURED.append(f"canary by the controller, twenty times as slow: {why}, after {took:.0f} s")
    assert phases[-2:] == ["ramping", "taken_back"]
    assert _told(split)["share"] == 0.0
    assert result.failed == 0, result.problems


def _phase(controller_url: str) -> str:
    """Return the canary's phase from the controller's metrics; nothing before they have one."""
    try:
        page = urllib.request.urlopen(f"{controller_url}/metrics", timeout=2).read().decode()
    except OSError:
        return ""
    found = re.search(r'foreserve_canary_phase\{[^}]*phase="([a-z_]+)"[^}]*\} 1\.0', page)
    return found[1] if found else ""
