"""The real controller process, in this event loop: real HTTP to a stand-in of Serve and recorded pages."""

import asyncio
import gzip
import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from controller import app
from controller.codec import load_record
from controller.domain.plan import Action, OutcomeStatus, Reason
from controller.domain.record import TickRecord
from controller.domain.signals import Signal
from controller.errors import BadInputError, UnavailableError
from controller.settings import Settings, load_settings
from controller.store.reader import StoreReader
from tests.serve_rest import CAPTURES, Fault, ServeRestStandIn, capture
from tests.webhooks import SinkServer, failing_half_the_time, until

POLICY = """\
version: 1
control: {interval_s: 1, window_s: 5, max_signal_age_s: 5}
deployments:
  - application: llmd
    deployment: LLMServer:tiny
    limits: {min_replicas: 1, max_replicas: 3}
    capacity: {target_ongoing_requests: 12}
"""
TOKEN = "act-secret-0123456789"
NAMES = {"application": "llmd", "deployment": "LLMServer:tiny"}


@asynccontextmanager
async def recorded_page(name: str) -> AsyncIterator[str]:
    """Serve one recorded metrics page; yields its base URL."""
    page = gzip.decompress((CAPTURES / name).read_bytes())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=page, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@asynccontextmanager
async def loaded_cluster(tmp_path: Path) -> AsyncIterator[tuple[ServeRestStandIn, Settings]]:
    """Serve with one replica that has 24 requests in flight, as recorded."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    async with (
        ServeRestStandIn(document=capture("applications_llmd_loaded")) as serve,
        recorded_page("ray_8080_llmd_loaded.prom.gz") as ray,
        recorded_page("haproxy_9101_llmd_loaded.prom.gz") as haproxy,
    ):
        yield (
            serve,
            load_settings(
                policy=tmp_path / "policy.yaml",
                serve_url=serve.base_url,
                ray_metrics_targets=[ray],
                haproxy_urls=[haproxy],
                store=tmp_path / "store" / "foreserve.db",
                port=free_port(),
            ),
        )


class Lines(io.StringIO):
    """What the process prints, one line per tick, and a way to await the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._grown = asyncio.Event()

    def flush(self) -> None:
        self._grown.set()

    async def next(self) -> None:
        await self._grown.wait()
        self._grown.clear()


@dataclass
class Process:
    """A running controller: its API, and what it said and printed."""

    client: aiohttp.ClientSession
    said: list[str]
    lines: Lines

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client.get(path) as response:
            return response.status, await response.json()

    async def act(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.client.request(method, path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def until(self, wanted: Callable[[TickRecord], bool], *, within_s: float = 20) -> TickRecord:
        """Return the first record from now on that is as wanted."""
        async with asyncio.timeout(within_s):
            while True:
                await self.lines.next()
                _, state = await self.get("/api/v1/state")
                record = load_record(json.dumps(state))
                if wanted(record):
                    return record


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Process]:
    """Run the controller until the block ends."""
    stop, lines, said = asyncio.Event(), Lines(), list[str]()
    ending = asyncio.create_task(app.run(settings, say=said.append, lines=lines, stop=stop))
    async with aiohttp.ClientSession(f"http://{settings.host}:{settings.port}") as client:
        yield Process(client, said, lines)
    stop.set()
    await ending


def changed(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}"


def applied(record: TickRecord) -> bool:
    return any(deployment.outcome.status is OutcomeStatus.APPLIED for deployment in record.deployments)


def any_record(_: TickRecord) -> bool:
    return True


def acted(record: TickRecord) -> bool:
    return any(deployment.outcome.status is not OutcomeStatus.NOTHING_TO_DO for deployment in record.deployments)


async def test_load_seen_over_http_becomes_a_target_set_over_http(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (serve, settings), running(settings) as process:
        record = await process.until(acted)
        target = serve.deployment(record.deployments[0].decision.id)["target_num_replicas"]
        async with process.client.get("/metrics") as response:
            page = await response.text()
        ready, _ = await process.get("/readyz")
        _, recorded = await process.get("/api/v1/decisions?deployment=llmd/LLMServer:tiny&last=1000")

    (deployment,) = record.deployments
    assert (deployment.decision.action, deployment.decision.binding) == (Action.SCALE_UP, Reason.DEMAND)
    assert (deployment.decision.current, deployment.decision.desired) == (1, 2)
    assert deployment.outcome.status is OutcomeStatus.APPLIED, deployment.outcome.detail
    assert target == 2
    assert [call.body for call in serve.scale_calls] == [b'{"target_num_replicas": 2}']
    assert ready == 200
    assert record.tick in [entry.tick for entry in map(load_record, map(json.dumps, recorded)) if acted(entry)]
    assert '"action":"scale_up"' in process.lines.getvalue()
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["foreserve_actuations_total", frozenset({**NAMES, "outcome": "applied"}.items())] == 1.0
    assert samples["foreserve_demand", frozenset({**NAMES, "signal": "ongoing_requests"}.items())] == 24.0


async def test_a_restart_goes_on_counting_and_remembers_what_it_ordered(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (_, settings):
        async with running(settings) as process:
            before = await process.until(acted)
        async with running(settings) as process:
            after = await process.until(any_record)

    assert after.tick > before.tick
    assert [order.to_replicas for order in after.ledger] == [2]
    assert after.conflicts == ()


async def test_advisory_says_what_it_would_do_and_touches_nothing(tmp_path: Path) -> None:
    async with (
        loaded_cluster(tmp_path) as (serve, settings),
        running(changed(settings, advisory=True)) as process,
    ):
        record = await process.until(acted)

    assert record.mode == "advisory"
    assert record.deployments[0].outcome.status is OutcomeStatus.ADVISED
    assert serve.scale_calls == []


async def test_in_approve_mode_a_plan_is_done_after_a_word_and_not_before(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (serve, settings):
        (tmp_path / "policy.yaml").write_text(f"{POLICY}mode: approve\n")
        async with running(changed(settings, api_tokens=SecretStr(f"alice act {TOKEN}"))) as process:
            waiting = await process.until(acted)
            written_before = list(serve.scale_calls)
            (proposal,) = (await process.get("/api/v1/approvals"))[1]
            approved, _ = await process.act("POST", f"/api/v1/approvals/{proposal['id']}/approve")
            done = await process.until(applied)
            _, came = await process.get(f"/api/v1/approvals/{proposal['id']}")

    assert waiting.deployments[0].outcome.status is OutcomeStatus.AWAITING
    assert waiting.deployments[0].outcome.proposal == proposal["id"]
    assert written_before == []
    assert approved == 200
    assert (done.deployments[0].outcome.status, len(serve.scale_calls)) == (OutcomeStatus.APPLIED, 1)
    assert (came["status"], came["decided_by"]) == ("applied", "alice")


ALERT = {
    "status": "firing",
    "labels": {"alertname": "CapacityLate", "application": "llmd", "deployment": "LLMServer:tiny"},
    "annotations": {"summary": "late"},
    "startsAt": "2026-01-01T00:00:00Z",
    "fingerprint": "c0ffee",
}


async def test_events_go_out_and_alerts_come_in_while_the_loop_ticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", TOKEN)
    async with loaded_cluster(tmp_path) as (serve, settings), SinkServer(failing_half_the_time()) as sink:
        (tmp_path / "policy.yaml").write_text(
            f"""{POLICY}webhooks:
  out: [{{name: ops, kind: cloudevents, url: '{sink.url}', allow_addresses: [127.0.0.0/8]}}]
  in:
    - name: am
      kind: alertmanager
      token_env: HOOK_TOKEN
      actions: [{{match: {{alertname: CapacityLate}}, action: raise_floor, replicas: 2, for_s: 60}}]
"""
        )
        async with running(settings) as process:
            await process.until(applied)
            firing, _ = await process.act("POST", "/hooks/am", {"version": "4", "status": "firing", "alerts": [ALERT]})
            raised = await process.until(lambda one: one.deployments[0].decision.binding is Reason.RAISED_FLOOR)
            over = {"version": "4", "status": "resolved", "alerts": [{**ALERT, "status": "resolved"}]}
            resolved, _ = await process.act("POST", "/hooks/am", over)
            free = await process.until(lambda one: not one.overrides)
            wanted = {"controller_up.happened", "decision_applied.happened", "override.began", "override.ended"}
            await until(lambda: wanted <= heard(sink))
            _, sinks = await process.get("/api/v1/webhooks")
            async with process.client.get("/metrics") as response:
                page = await response.text()
        await until(lambda: "controller_down.began" in heard(sink))

    assert (firing, resolved) == (200, 200)
    assert raised.deployments[0].decision.desired == 3
    assert [(one.owner, one.replicas) for one in raised.overrides] == [("am/CapacityLate", 2)]
    assert free.deployments[0].decision.binding is not Reason.RAISED_FLOOR
    assert max(call.body for call in serve.scale_calls) == b'{"target_num_replicas": 3}'
    assert sinks[0]["name"] == "ops"
    assert 'foreserve_webhooks_received_total{receiver="am",result="accepted"} 2.0' in page
    assert 'foreserve_webhook_deliveries_total{result="delivered",sink="ops"}' in page


def heard(sink: SinkServer) -> set[str]:
    return {one.json["type"].removeprefix("io.foreserve.") for one in sink.received}


async def test_an_override_holds_over_a_restart_and_is_undone_by_itself(tmp_path: Path) -> None:
    freeze = {"action": "freeze", "deployment": "llmd/LLMServer:tiny", "for_s": 6, "reason": "launch"}
    async with loaded_cluster(tmp_path) as (serve, without_tokens):
        settings = changed(without_tokens, api_tokens=SecretStr(f"alice act {TOKEN}"))
        serve.fail(Fault(status=503, text="not yet"))
        async with running(settings) as process:
            await process.until(any_record)
            begun, override = await process.act("POST", "/api/v1/overrides", freeze)
        serve.recover()
        async with running(settings) as process:
            frozen = await process.until(lambda one: one.deployments[0].decision.binding is Reason.FROZEN)
            free = await process.until(applied)

    assert begun == 201
    assert [(one.id, one.owner) for one in frozen.overrides] == [(override["id"], "alice")]
    assert free.at >= override["until"]
    assert free.overrides == ()
    assert len(serve.scale_calls) == 1


async def test_without_serve_it_runs_degraded_and_recovers_by_itself(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (serve, settings):
        serve.fail(Fault(status=503, text="Serve is starting"))
        async with running(settings) as process:
            blind = await process.until(any_record)
            not_ready, why = await process.get("/readyz")
            serve.recover()
            seeing = await process.until(acted)
            ready, _ = await process.get("/readyz")

    assert any("until Ray Serve answers" in sentence for sentence in process.said)
    assert blind.deployments[0].decision.binding is Reason.NO_DATA
    assert any("serve/" in sentence for sentence in blind.degraded)
    assert not_ready == 503
    assert "503" in why["reasons"][0]
    assert seeing.deployments[0].outcome.status is OutcomeStatus.APPLIED
    assert ready == 200


async def test_a_required_serve_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (_, settings):
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
            await app.run(changed(settings, serve_url=nowhere()), say=print, require_serve=True)


async def test_two_controllers_do_not_share_a_store(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (_, settings), running(settings) as process:
        await process.until(any_record)

        with pytest.raises(BadInputError, match=r"foreserve\.db.*--store"):
            await app.run(changed(settings, port=free_port()), say=print)


async def test_a_plan_shows_the_decision_and_leaves_no_trace(tmp_path: Path) -> None:
    said: list[str] = []

    async with loaded_cluster(tmp_path) as (serve, settings):
        record = await app.plan(settings, say=said.append)

    assert (record.deployments[0].decision.action, record.deployments[0].decision.desired) == (Action.SCALE_UP, 2)
    assert record.deployments[0].outcome.status is OutcomeStatus.ADVISED
    assert len(said) == app.PLAN_LOOKS - 1
    assert serve.scale_calls == []
    assert not settings.store.exists()


async def test_a_plan_without_serve_is_unavailable(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (_, settings):
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
            await app.plan(changed(settings, serve_url=nowhere()), say=print)


@asynccontextmanager
async def prometheus_with_a_past(value: float) -> AsyncIterator[str]:
    """Answers range queries with one even series, and knows nothing of now."""

    async def past(request: web.Request) -> web.Response:
        form = await request.post()
        start, end, step = (float(str(form[name])) for name in ("start", "end", "step"))
        points = [[start + index * step, f"{value}"] for index in range(round((end - start) / step) + 1)]
        return web.json_response({"status": "success", "data": {"result": [{"metric": {}, "values": points}]}})

    async def now(_: web.Request) -> web.Response:
        return web.json_response({"status": "success", "data": {"resultType": "matrix", "result": []}})

    application = web.Application()
    application.router.add_post("/api/v1/query_range", past)
    application.router.add_post("/api/v1/query", now)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


async def test_a_first_start_begins_with_the_past_that_prometheus_knows(tmp_path: Path) -> None:
    async with loaded_cluster(tmp_path) as (_, settings), prometheus_with_a_past(7.0) as prometheus:
        async with running(changed(settings, prometheus_url=prometheus, ray_metrics_targets=())) as process:
            await process.until(any_record)
        with StoreReader(settings.store) as reader:
            kept = reader.load()

    assert "llmd/LLMServer:tiny: 360.0 h of its past read from Prometheus" in process.said
    assert kept is not None
    fine = {signal: history for _, signal, history in kept.histories}[Signal.PREFILL_TOKENS]
    assert len(fine.values) >= 8630
    assert set(fine.values[:-10]) == {7.0}
    assert any(piece.name.startswith("minutes") for piece in kept.pieces)
