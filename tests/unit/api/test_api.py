"""The API over real HTTP: what it says, when it refuses, and what it never shows."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from controller.actuators.serve_guided import Published
from controller.api.routes import api
from controller.api.server import ApiServer, listen
from controller.codec import dump_record, load_record
from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.domain.scrape import SourceHealth, SourceKind
from controller.errors import BadInputError
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from controller.policy.load import LoadedPolicy
from controller.policy.model import CapacityPrior, DeploymentPolicy, Limits, Policy
from controller.ports import StoreError
from serving.guided import Floor, read_floors
from tests.clocks import VirtualClock
from tests.records import CHAT, record

POLICY = Policy(
    version=1,
    deployments=(
        DeploymentPolicy(
            application="chat",
            deployment="LLMServer:tiny",
            limits=Limits(max_replicas=2),
            capacity=CapacityPrior(target_ongoing_requests=4),
        ),
    ),
)


class Recorded:
    """Stands for a store that can be read, or not."""

    def __init__(self) -> None:
        self.asked: list[tuple[DeploymentId | None, int]] = []
        self.problem: str | None = None

    def __call__(self, *, deployment: DeploymentId | None, last: int) -> list[TickRecord]:
        self.asked.append((deployment, last))
        if self.problem:
            raise StoreError(self.problem)
        return [record(tick=6), record(tick=7)]


@pytest.fixture
async def served() -> AsyncIterator[SimpleNamespace]:
    clock, metrics, records = VirtualClock(), MetricsExporter(), Recorded()
    latest = LatestTick(clock)
    loaded = LoadedPolicy(POLICY, "0123456789ab", Path("policy.yaml"))
    server = ApiServer(
        api(
            latest=latest,
            policy=lambda: loaded,
            records=records,
            registry=metrics.registry,
            floors=lambda: (Published(DeploymentId("chat", "LLMServer:tiny"), 3, 2.5),),
        ),
        listen("127.0.0.1", 0),
    )
    serving = asyncio.create_task(server.serve())
    async with aiohttp.ClientSession(server.address) as session:
        yield SimpleNamespace(session=session, clock=clock, latest=latest, metrics=metrics, records=records)
    server.stop()
    await serving


async def get(served: SimpleNamespace, path: str) -> tuple[int, Any]:
    async with served.session.get(path) as response:
        return response.status, json.loads(await response.text())


async def test_the_floors_of_guided_mode_are_what_the_policy_in_serve_reads(served: SimpleNamespace) -> None:
    status, body = await get(served, "/api/v1/floors")

    assert status == 200
    assert read_floors(body, 100.0) == {("chat", "LLMServer:tiny"): Floor(3, 97.5)}


async def test_metrics_are_a_prometheus_page(served: SimpleNamespace) -> None:
    served.metrics.export(record())

    async with served.session.get("/metrics") as response:
        page = await response.text()

    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert 'foreserve_target_replicas{application="chat",deployment="LLMServer:tiny"} 2.0' in page


@pytest.mark.parametrize(
    ("age_s", "status", "reasons"),
    [
        (0.0, 200, []),
        (30.0, 200, []),
        (31.0, 503, ["no tick was completed for 31 s; at most 30 s are normal"]),
    ],
)
async def test_it_is_alive_while_ticks_come(
    served: SimpleNamespace, age_s: float, status: int, reasons: list[str]
) -> None:
    served.latest.export(record())
    served.clock.advance(age_s)

    answered, body = await get(served, "/healthz")

    assert (answered, body["reasons"]) == (status, reasons)


async def test_it_is_alive_before_the_first_tick_but_not_for_ever(served: SimpleNamespace) -> None:
    assert (await get(served, "/healthz"))[0] == 200

    served.clock.advance(31.0)

    assert (await get(served, "/healthz"))[0] == 503


async def test_it_is_not_ready_before_the_first_tick(served: SimpleNamespace) -> None:
    assert await get(served, "/readyz") == (503, {"status": "failed", "reasons": ["no tick has been completed yet"]})


async def test_it_is_ready_after_a_tick_with_serve_reachable(served: SimpleNamespace) -> None:
    served.latest.export(record())

    assert await get(served, "/readyz") == (200, {"status": "ok", "reasons": []})


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        (
            (
                SourceHealth(
                    source="serve/a:8265", kind=SourceKind.SERVE, age_s=None, stale=True, error="connection refused"
                ),
            ),
            "serve/a:8265: connection refused",
        ),
        ((), "Ray Serve has not answered yet"),
    ],
)
async def test_it_is_not_ready_without_serve_and_says_why(
    served: SimpleNamespace, sources: tuple[SourceHealth, ...], reason: str
) -> None:
    served.latest.export(record(sources=sources))

    assert await get(served, "/readyz") == (503, {"status": "failed", "reasons": [reason]})


async def test_state_is_the_latest_record(served: SimpleNamespace) -> None:
    served.latest.export(record(tick=41))

    async with served.session.get("/api/v1/state") as response:
        state = load_record(await response.read())

    assert state == load_record(dump_record(record(tick=41)))


async def test_a_newer_record_takes_the_place_of_the_one_shown(served: SimpleNamespace) -> None:
    ticks = []
    for tick in (41, 41, 42):
        served.latest.export(record(tick=tick))
        ticks.append((await get(served, "/api/v1/state"))[1]["tick"])

    assert ticks == [41, 41, 42]


async def test_there_is_no_state_before_the_first_tick(served: SimpleNamespace) -> None:
    assert await get(served, "/api/v1/state") == (503, {"detail": "no tick has been completed yet"})


async def test_decisions_come_from_the_store_for_one_deployment(served: SimpleNamespace) -> None:
    status, body = await get(served, "/api/v1/decisions?deployment=chat/LLMServer:tiny&last=2")

    assert status == 200
    assert [entry["tick"] for entry in body] == [6, 7]
    assert served.records.asked == [(CHAT, 2)]


@pytest.mark.parametrize("query", ["last=0", "last=1001", "last=many", "deployment=chat"])
async def test_a_wrong_query_is_refused(served: SimpleNamespace, query: str) -> None:
    status, body = await get(served, f"/api/v1/decisions?{query}")

    assert status == 422
    assert body["detail"]
    assert served.records.asked == []


async def test_an_unreadable_store_is_said(served: SimpleNamespace) -> None:
    served.records.problem = "records.db: disk I/O error"

    assert await get(served, "/api/v1/decisions") == (503, {"detail": "records.db: disk I/O error"})


async def test_the_policy_in_force_is_shown_with_its_defaults(served: SimpleNamespace) -> None:
    _, body = await get(served, "/api/v1/policy")

    assert body["version"] == "0123456789ab"
    assert body["policy"]["deployments"][0]["limits"]["max_step_down"] == 4


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_written(served: SimpleNamespace, method: str) -> None:
    async with served.session.request(method, "/api/v1/policy") as response:
        assert response.status == 401


async def test_what_is_not_there_is_said_in_a_sentence(served: SimpleNamespace) -> None:
    assert await get(served, "/api/v1/nothing") == (404, {"detail": "there is nothing at /api/v1/nothing"})


async def test_answers_are_never_cached_framed_or_guessed(served: SimpleNamespace) -> None:
    async with served.session.get("/healthz") as response:
        headers = response.headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Server" not in headers


def test_a_taken_port_is_bad_input_that_names_the_port_and_the_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(BadInputError, match=rf"port {port} on 127.0.0.1 is already in use.*--port"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_bad_input() -> None:
    with pytest.raises(BadInputError, match=r"port 9900 on 203.0.113.1 cannot be used"):
        listen("203.0.113.1", 9900)
