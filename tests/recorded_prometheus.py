"""A real Prometheus that scrapes recorded pages of a real service, whose counters go on counting."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client import generate_latest

from alerts.export import Format, document, to_yaml
from controller.domain.forecast import ForecastStanding
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Outcome, OutcomeStatus, Reason, Step
from controller.domain.reading import Known
from controller.domain.signals import Signal
from controller.domain.snapshot import Latency
from controller.export.metrics import MetricsExporter
from controller.policy.load import load_policy
from controller.policy.model import Policy
from tests.captured import CAPTURES
from tests.panels import ask
from tests.promql import CATALOGUE
from tests.records import decision, deployment_record, record, snapshot

SERVED = DeploymentId("llmd", "LLMServer:tiny")
_PAGES = {
    "loaded": "ray_8080_llmd_loaded",
    "ingress": "ray_8080_llm_loaded",
    "pressure": "ray_8080_llmd_kv_pressure",
    "errors": "ray_8080_llm_errors",
    "deployed": "ray_8080_llmd_2replicas",
    "auto": "ray_8080_light_autoscaling",
    "failed": "ray_8080_llmd_deploy_failed",
    "replica": "ray_8080_fault_replica",
    "haproxy": "haproxy_9101_llmd_loaded",
    "autoscaler": "autoscaler_44217_light_idle",
}
_GROWTH = 0.02
_SAMPLE = re.compile(r"(\w+)(\{.*\})? (\S+)$")
_COUNTS = ("_total", "_bucket", "_count", "_sum")


class _Page:
    """One recorded page, cut down to what the catalogue has; everything that counts grows at each scrape."""

    def __init__(self, name: str) -> None:
        body = gzip.decompress((CAPTURES / f"{name}.prom.gz").read_bytes()).decode()
        samples = [found for line in body.splitlines() if (found := _SAMPLE.match(line)) and found[1] in CATALOGUE]
        self._samples = [(f"{one[1]}{one[2] or ''}", float(one[3]), one[1].endswith(_COUNTS)) for one in samples]
        self._scrapes = itertools.count()

    def text(self) -> str:
        factor = 1 + _GROWTH * next(self._scrapes)
        return "".join(f"{series} {value * factor if counts else value!r}\n" for series, value, counts in self._samples)


class _Controller:
    """The controller's own page after one more tick at each scrape."""

    def __init__(self) -> None:
        self._exporter = MetricsExporter()

    def text(self) -> str:
        self._exporter.export(_tick())
        return generate_latest(self._exporter.registry).decode()


def _tick():
    seen = snapshot(
        SERVED,
        demand={signal: Known(6.0, 0.5) for signal in Signal},
        kv_cache_usage=Known(0.4, 0.5),
        latency=Latency(ttft_p50_s=Known(0.2), ttft_p95_s=Known(0.9), itl_p50_s=Known(0.01), itl_p95_s=Known(0.02)),
    )
    stages = ("reactive", "forecast", "stabilise", "limit")
    decided = decision(
        SERVED,
        action=Action.SCALE_UP,
        binding=Reason.FORECAST,
        steps=tuple(Step(stage, number, Reason.FORECAST) for number, stage in enumerate(stages, start=2)),
    )
    done = Outcome(id=SERVED, status=OutcomeStatus.APPLIED)
    whole = record(deployment_record(SERVED, snapshot=seen, decision=decided, outcome=done, standings=(_standing(),)))
    return replace(whole, ledger=tuple(replace(order, id=SERVED) for order in whole.ledger))


def _standing() -> ForecastStanding:
    return ForecastStanding(
        signal=Signal.ONGOING_REQUESTS,
        horizon_s=50.0,
        probability=0.9,
        coverage=0.87,
        pinball_loss=0.4,
        bias=1.1,
        horizons=40.0,
        trusted=True,
        method="boosted",
        fitted_at=0.0,
    )


def _policy() -> Policy:
    policy = load_policy(Path(__file__).parents[1] / "manifests/policies/local.yaml").policy
    named = policy.deployments[0].model_copy(
        update={"application": SERVED.application, "deployment": SERVED.deployment}
    )
    return policy.model_copy(update={"deployments": (named,)})


@contextlib.asynccontextmanager
async def recorded_prometheus(folder: Path) -> AsyncIterator[str]:
    """Start the pages and Prometheus with our rules, wait until the slowest rule has a result, yield its address."""
    pages = {**{name: _Page(page) for name, page in _PAGES.items()}, "foreserve": _Controller()}
    app = web.Application()

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=pages[request.match_info["page"]].text())

    app.router.add_get("/{page}/metrics", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pages_port = site._server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{_free_port()}"
    process = await _prometheus(folder, url, pages_port, list(pages))
    try:
        await _ready(url, process)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await runner.cleanup()


async def _prometheus(folder: Path, url: str, port: int, pages: list[str]) -> asyncio.subprocess.Process:
    binary = shutil.which("prometheus")
    assert binary, "prometheus is missing; requirements/setup.sh installs it"
    rules = document(_policy(), Format.PROMETHEUS, every_s=1)
    (folder / "rules.yaml").write_text(to_yaml(rules, "rules"))
    jobs = [
        {"job_name": page, "metrics_path": f"/{page}/metrics", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for page in pages
    ]
    configuration: Mapping[str, object] = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.json").write_text(json.dumps(configuration))
    return await asyncio.create_subprocess_exec(
        binary,
        f"--config.file={folder / 'prometheus.json'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=error",
        stderr=asyncio.subprocess.DEVNULL,
    )


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    """Wait for four scrapes of every page and for the last rule of the chain."""
    enough = "min(count_over_time(up[1m])) >= 4 and min(up) == 1 and on () count(slo:budget_left:ratio30d) == 3"
    async with aiohttp.ClientSession() as session, asyncio.timeout(50):
        while True:
            assert process.returncode is None, "Prometheus ended by itself"
            with contextlib.suppress(aiohttp.ClientError):
                if await ask(session, url, enough):
                    return
            await asyncio.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
