"""Guided mode's policy: follows load and floor, and survives everything around it."""

from __future__ import annotations

import gc
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.args import GuidedArgs
from serving.guided import Engines, Floor, Floors, GuidedPolicy, Need, combine, reactive, read_floors
from serving.llm import autoscaling_config
from serving.stats import KV_USAGE, RUNNING, WAITING

NOW = 1000.0


@dataclass
class Point:
    timestamp: float
    value: float


@dataclass
class Context:
    """As Serve gives it."""

    current_num_replicas: int = 2
    target_num_replicas: int = 2
    total_num_requests: float = 0.0
    raw_metrics: Any = field(default_factory=dict)
    capacity_adjusted_max_replicas: int = 10
    app_name: str = "chat"
    deployment_name: str = "LLMServer:m"
    config: Any = field(default_factory=lambda: SimpleNamespace(get_target_ongoing_requests=lambda: 8.0))


class Fixed:
    def __init__(self, floor: Floor | None) -> None:
        self.floor = floor

    def latest(self, application: str, deployment: str) -> Floor | None:
        return self.floor if (application, deployment) == ("chat", "LLMServer:m") else None


def reports(replicas: int, *, running: float, waiting: float = 0, kv: float = 0.0, age: float = 0.5) -> dict[str, Any]:
    values = {RUNNING: running, WAITING: waiting, KV_USAGE: kv}
    return {name: {i: [Point(NOW - age, value)] for i in range(replicas)} for name, value in values.items()}


def policy(floor: Floor | None = None) -> GuidedPolicy:
    return GuidedPolicy(floors=Fixed(floor), clock=lambda: NOW, wall_clock=lambda: NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("context", "floor", "wanted"),
    [
        pytest.param(
            Context(total_num_requests=24, raw_metrics=reports(2, running=1)), None, 3, id="requests in flight"
        ),
        pytest.param(Context(raw_metrics=reports(2, running=8, waiting=8)), None, 4, id="a queue in the engines"),
        pytest.param(Context(raw_metrics=reports(2, running=2, kv=1.0)), None, 3, id="few long prompts fill the cache"),
        pytest.param(Context(raw_metrics=reports(2, running=1, kv=0.1)), None, 1, id="less will do"),
        pytest.param(Context(raw_metrics=reports(2, running=1)), Floor(5, NOW), 5, id="a floor above the need"),
        pytest.param(Context(raw_metrics=reports(2, running=24)), Floor(1, NOW), 6, id="a floor below the need"),
        pytest.param(Context(raw_metrics=reports(2, running=1)), Floor(5, NOW - 31), 1, id="a floor too old"),
        pytest.param(Context(raw_metrics=reports(2, running=1)), Floor(99, NOW), 10, id="never above Serve's maximum"),
        pytest.param(Context(raw_metrics=reports(1, running=1)), None, 2, id="one of two does not report: no less"),
        pytest.param(Context(raw_metrics=reports(2, running=1, age=60)), None, 2, id="all reports old: no less"),
        pytest.param(
            Context(raw_metrics=reports(2, running=1, age=60), total_num_requests=40),
            None,
            5,
            id="blind, but more comes",
        ),
        pytest.param(Context(total_num_requests=24), None, 3, id="an engine that tells nothing is counted by requests"),
        pytest.param(Context(current_num_replicas=0, target_num_replicas=2), None, 2, id="all starting: as it is"),
        pytest.param(Context(current_num_replicas=0, target_num_replicas=0), Floor(1, NOW), 1, id="a floor wakes it"),
        pytest.param(Context(current_num_replicas=0, target_num_replicas=0), None, 0, id="asleep stays asleep"),
    ],
)
def test_what_is_wanted(context: Context, floor: Floor | None, wanted: int) -> None:
    assert policy(floor)(context) == (wanted, {})


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"raw_metrics": 7}, id="no metrics as known"),
        pytest.param({"config": None}, id="no config"),
        pytest.param({"total_num_requests": None}, id="no count"),
    ],
)
def test_whatever_breaks_leaves_the_target_as_it_is(broken: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    guided = policy()
    with caplog.at_level("ERROR", logger="ray.serve"):
        for _ in range(5):
            assert guided(Context(target_num_replicas=4, **broken)) == (4, {})

    assert len(caplog.records) == 1


needs = st.builds(Need, st.floats(0, 1000), known=st.booleans(), why=st.just("requests"))


@given(needs, st.none() | st.integers(0, 1000), st.integers(0, 100), st.integers(1, 100))
def test_laws_of_combining(need: Need, floor: int | None, target: int, highest: int) -> None:
    wanted = combine(need, floor, target=target, highest=highest)

    assert wanted <= highest
    assert wanted >= min(highest, floor or 0)
    if not need.known:
        assert wanted >= min(highest, target)
    assert wanted >= combine(need, None, target=target, highest=highest)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.integers(1, 100), st.floats(0, 1))
def test_more_requests_never_need_fewer_replicas(requests: float, more: float, running: int, kv: float) -> None:
    def need(count: float) -> float:
        engines = Engines(running, 0.0, kv)
        return reactive(
            requests=count, engines=engines, running=running, target_ongoing_requests=8, target_kv_usage=0.8
        ).replicas

    assert need(requests + more) >= need(requests)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param([], id="a list"),
        pytest.param({"floors": 3}, id="no list"),
        pytest.param({"floors": [{"application": "a"}]}, id="no deployment"),
        pytest.param({"floors": [{"application": "a", "deployment": "d", "replicas": -1, "age_s": 0}]}, id="negative"),
        pytest.param(
            {"floors": [{"application": "a", "deployment": "d", "replicas": 1, "age_s": float("nan")}]}, id="no age"
        ),
    ],
)
def test_a_strange_answer_is_no_floor(body: Any) -> None:
    with pytest.raises(ValueError, match="floor"):
        read_floors(body, NOW)


class Controller(http.server.ThreadingHTTPServer):
    answer: bytes = b""
    tokens: list[str | None]

    def __init__(self) -> None:
        self.tokens = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Controller

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def controller() -> Iterator[Controller]:
    server = Controller()
    yield server
    server.shutdown()
    server.server_close()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_floors_are_fetched_with_their_age_and_grow_old_when_the_controller_is_gone(controller, tmp_path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    floor = {"application": "chat", "deployment": "LLMServer:m", "replicas": 3, "age_s": 2.5}
    controller.answer = json.dumps({"floors": [floor]}).encode()
    floors = Floors(controller.url, str(token), poll_s=0.02)

    _until(lambda: floors.latest("chat", "LLMServer:m") is not None)
    found = floors.latest("chat", "LLMServer:m")
    controller.answer = b"no JSON"
    seen = len(controller.tokens)
    _until(lambda: len(controller.tokens) > seen + 2)

    assert found is not None
    assert found.replicas == 3
    assert time.monotonic() - found.at >= 2.5
    assert floors.latest("chat", "LLMServer:m") is not None
    assert set(controller.tokens) == {"Bearer secret"}
    assert floors.latest("chat", "other") is None


def test_the_thread_ends_with_the_policy_that_needed_it(controller: Controller) -> None:
    controller.answer = b'{"floors": []}'
    floors = Floors(controller.url, None, poll_s=0.02)
    floors.latest("chat", "m")
    _until(lambda: controller.tokens)
    thread = floors._thread
    assert thread is not None

    del floors
    gc.collect()

    thread.join(5)
    assert not thread.is_alive()


def test_a_call_takes_a_small_part_of_a_millisecond_with_a_hundred_replicas() -> None:
    guided = policy(Floor(3, NOW))
    context = Context(current_num_replicas=100, raw_metrics=reports(100, running=4, waiting=1, kv=0.5))
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        guided(context)
        taken.append(time.perf_counter() - began)

    # The median: the machine may be busy. Serve's loop has a tenth of a second for all deployments.
    assert sorted(taken)[100] < 0.001


def test_ray_can_ship_the_policy_as_the_config_names_it() -> None:
    serve_config = pytest.importorskip("ray.serve.config")

    guided = GuidedArgs(max_replicas=4, target_ongoing_requests=8, controller_url="http://127.0.0.1:1")
    config = serve_config.AutoscalingConfig(**autoscaling_config(guided))
    shipped = config.policy.get_policy()(**config.policy.policy_kwargs)

    context = Context(raw_metrics={}, total_num_requests=24, config=config)
    assert shipped(context) == (3, {})
