"""The range queries against a real Prometheus with an hour of back-filled series."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess

import aiohttp
import numpy as np
import pytest

from controller.collectors.past_demand import history_api
from controller.collectors.recollection import Grain, recollect
from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.simulation.from_prometheus import read_prometheus
from controller.window.history import DemandHistory
from tests.records import CHAT

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="needs prometheus (apt install prometheus)"),
]

START, HOUR, SCRAPE_S = 1_700_000_000, 3600, 15
SERIES = {
    'haproxy_backend_http_requests_total{proxy="http-chat",instance="a"}': 3.0,
    'haproxy_backend_http_requests_total{proxy="http-other",instance="a"}': 50.0,
    'ray_vllm_prompt_tokens_total{ReplicaId="r1",WorkerId="w1",engine="0"}': 900.0,
    'ray_vllm_prompt_tokens_total{ReplicaId="r2",WorkerId="w2",engine="0"}': 600.0,
    'ray_vllm_prompt_tokens_total{ReplicaId="zz",WorkerId="w3",engine="0"}': 7000.0,
    'ray_vllm_generation_tokens_total{ReplicaId="r1",WorkerId="w1",engine="0"}': 360.0,
}
OWNED = {"r1": "LLMServer:tiny", "r2": "LLMServer:tiny", "zz": "Other"}


def openmetrics() -> str:
    """An hour of counters that grow evenly, and of the gauge that tells whose replica is whose."""
    lines, names = [], []
    for series, per_s in SERIES.items():
        name = series.split("{")[0].removesuffix("_total")
        if name not in names:
            names.append(name)
            lines.append(f"# TYPE {name} counter")
        lines += [f"{series} {per_s * at:.1f} {START + at}" for at in range(0, HOUR + 1, SCRAPE_S)]
    lines.append("# TYPE ray_serve_replica_processing_queries gauge")
    for replica, deployment in OWNED.items():
        labels = f'application="chat",deployment="{deployment}",replica="{replica}"'
        lines += [
            f"ray_serve_replica_processing_queries{{{labels}}} 1.0 {START + at}" for at in range(0, HOUR + 1, SCRAPE_S)
        ]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "past.om").write_text(openmetrics())
    backfill = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", folder / "past.om", folder / "tsdb"]
    subprocess.run(backfill, check=True, capture_output=True, timeout=50)
    (folder / "prometheus.yml").write_text("{}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    options += ["--storage.tsdb.retention.time=50y", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([PROMETHEUS, *options], stdout=log, stderr=log)
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(timeout=20)


async def is_ready(session: aiohttp.ClientSession, server: str) -> bool:
    try:
        async with session.get(f"{server}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_a_deployments_own_requests_and_tokens_are_found(server):
    async with aiohttp.ClientSession() as session:
        while not await is_ready(session, server):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)
        rates = await read_prometheus(session, server, CHAT, token=None, since=float(START), until=float(START + HOUR))
    middle = slice(10, -10)
    assert rates.values[Signal.REQUESTS][middle] == pytest.approx(3.0)
    assert rates.values[Signal.PREFILL_TOKENS][middle] == pytest.approx(1500.0)
    assert rates.values[Signal.DECODE_TOKENS][middle] == pytest.approx(360.0)
    assert np.count_nonzero(rates.known) >= 115


async def test_a_new_controller_knows_the_past_that_prometheus_knows(server):
    now = START + HOUR + 7.0
    grains = (Grain(step_s=5.0, span_s=600.0), Grain(step_s=60.0, span_s=86_400.0))
    stranger = DeploymentId("chat", "Other")
    async with aiohttp.ClientSession() as session:
        while not await is_ready(session, server):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)
        found = await recollect(
            history_api(server, session, None),
            [CHAT, stranger, DeploymentId("no", "traffic")],
            known_until={stranger: now - 60.0},
            grains=grains,
            now=now,
        )
    histories = {grain.step_s: DemandHistory(step_s=grain.step_s, max_bins=1440) for grain in grains}
    for one in found.past:
        histories[one.step_s].fill(one.deployment, one.signal, one.start, one.values)

    fine, coarse = (histories[grain.step_s].history(CHAT, Signal.PREFILL_TOKENS) for grain in grains)
    assert fine.end <= now
    assert fine.values[:-6] == pytest.approx([1500.0] * (len(fine.values) - 6), abs=0.1)
    assert len(fine.values) > 110
    assert coarse.start == pytest.approx(START, abs=120)
    assert coarse.values[2:-2] == pytest.approx([1500.0] * (len(coarse.values) - 4), abs=0.1)
    assert {one.deployment for one in found.past} == {CHAT, DeploymentId("no", "traffic")}
    assert found.said == (
        "chat/LLMServer:tiny: 1.0 h of its past read from Prometheus",
        "no/traffic: Prometheus knows nothing of its past",
    )


async def test_a_past_that_cannot_be_read_is_said_and_ends_nothing():
    async with aiohttp.ClientSession() as session:
        found = await recollect(
            history_api("http://127.0.0.1:9", session, None),
            [CHAT],
            known_until={},
            grains=(Grain(step_s=5.0, span_s=600.0),),
            now=float(START),
        )

    assert found.past == ()
    (sentence,) = found.said
    assert sentence.startswith("chat/LLMServer:tiny: its past could not be read and is learned from now on: http://")
