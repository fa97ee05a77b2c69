"""The range queries against a real Prometheus with an hour of back-filled series."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess

import aiohttp
import numpy as np
import pytest

from controller.domain.signals import Signal
from controller.simulation.from_prometheus import read_prometheus
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
