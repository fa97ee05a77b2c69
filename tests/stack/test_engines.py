"""Routing that reads the request, on vLLM's CPU engine with the tiny model: adapters, and prefixes."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from controller.local.calls import request
from serving import environment
from serving.bucket import server
from serving.tiny_model import make, make_adapter
from tests.stack.conftest import MODEL, ROOT, free_ports
from tests.stack.observer import MEASURED
from tests.stack.patience import PATIENCE
from tests.stack.serving_cluster import ServingCluster, serving_cluster

_COUNTED = re.compile(
    r'^ray_vllm_(request_success|prefix_cache_hits)_total\{.*?ReplicaId="([^"]+)".*?\} (\S+)', re.MULTILINE
)


def example(name: str) -> dict[str, Any]:
    (found,) = yaml.safe_load((ROOT / f"manifests/examples/serving/{name}.local.yaml").read_text())["applications"]
    found["args"]["model_source"] = str(MODEL)
    return dict(found) | {"name": name, "route_prefix": f"/{name}"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingCluster]:
    make(MODEL)
    adapters = tmp_path_factory.mktemp("buckets")
    for seed, name in enumerate(("formal", "terse")):
        make_adapter(adapters / "adapters" / name, seed=seed)
    bucket = server(adapters)
    threading.Thread(target=bucket.serve_forever, daemon=True).start()
    reads = environment.variables(environment.BODY_ROUTING)
    found = environment.variables(environment.local_bucket(bucket.server_port))
    with serving_cluster(tmp_path_factory.mktemp("engines"), free_ports(), **reads, **found) as started:
        started.put([example("lora"), example("prefix")], within_s=300)
        for route in ("lora", "prefix"):
            started.wait(lambda route=route: bool(request(f"{started.url}/{route}/v1/models")), 60, "it is reached")
        yield started
    bucket.shutdown()
    bucket.server_close()


def say(cluster: ServingCluster, route: str, model: str, words: str) -> tuple[int, str]:
    body = {"model": model, "messages": [{"role": "user", "content": words}], "max_tokens": 16, "temperature": 0}
    wanted = urllib.request.Request(
        f"{cluster.url}/{route}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(wanted, timeout=PATIENCE * 60) as answer:
            return answer.status, json.loads(answer.read())["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _by_replica(cluster: ServingCluster, name: str) -> dict[str, float]:
    page = urllib.request.urlopen(f"http://127.0.0.1:{cluster.ports.ray_metrics}/metrics", timeout=10).read().decode()
    found: dict[str, float] = {}
    for what, replica, value in _COUNTED.findall(page):
        if what == name:
            found[replica] = found.get(replica, 0) + float(value)
    return found


def _rose(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {one: value - before.get(one, 0) for one, value in after.items() if value > before.get(one, 0)}


def test_requests_that_begin_alike_meet_on_one_replica(cluster: ServingCluster) -> None:
    # First in this file: metrics come seconds late, and earlier requests would be counted here.
    went = []
    for words in ("the quick brown fox jumps over the lazy dog ", "ray serve llm with vllm behind haproxy "):
        before = _by_replica(cluster, "request_success")
        for turn in range(6):
            assert say(cluster, "prefix", "tiny", f"{words * 30} {turn}")[0] == 200

        def counted(before: Mapping[str, float] = before) -> bool:
            return sum(_rose(_by_replica(cluster, "request_success"), before).values()) >= 6

        cluster.wait(counted, 30, "all requests are counted")
        went.append(_rose(_by_replica(cluster, "request_success"), before))

    MEASURED.append(
        f"prefix routing: six requests of each of two beginnings went to {[list(one.values()) for one in went]}"
    )
    hits = _by_replica(cluster, "prefix_cache_hits")
    assert [list(one.values()) for one in went] == [[6.0], [6.0]]
    assert all(hits[replica] > 0 for one in went for replica in one)


def test_each_adapter_answers_in_its_own_way(cluster: ServingCluster) -> None:
    answers = {model: say(cluster, "lora", model, "the lazy dog") for model in ("tiny", "tiny:formal", "tiny:terse")}

    assert [status for status, _ in answers.values()] == [200, 200, 200], answers
    assert len({text for _, text in answers.values()}) == 3
    assert say(cluster, "lora", "tiny:nobody", "the lazy dog")[0] == 404
