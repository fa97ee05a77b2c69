"""Who may read, who may act, and what a browser cannot be made to do."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from fastapi import Request

from controller.api import server as server_module
from controller.api.access import THIS_MACHINE, Head, Refusal, judge
from controller.api.bodies import MOST_BYTES, BodyLimits
from controller.api.routes import api
from controller.api.server import ApiServer, listen
from controller.api.tokens import Caller, Scope, parse_tokens
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from tests.clocks import VirtualClock

ACT, READ = "act-secret-0123456789", "read-secret-0123456789"
TOKENS = parse_tokens(f"alice act {ACT}\ngrafana read {READ}", "tokens")
LOCAL = {"host": "127.0.0.1:9900"}


def head(method: str = "GET", path: str = "/api/v1/state", peer: str | None = "127.0.0.1", **headers: str) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(method=method, path=path, peer=peer, headers={**LOCAL, **named})


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("asked", "caller"),
    [
        pytest.param(head(), THIS_MACHINE, id="reading-here"),
        pytest.param(head(peer="::1", host="[::1]:9900"), THIS_MACHINE, id="reading-here-by-ipv6"),
        pytest.param(head(peer="::ffff:127.0.0.1", host="localhost:9900"), THIS_MACHINE, id="reading-here-mapped"),
        pytest.param(head(peer="10.0.0.9", **bearer(READ)), Caller("grafana", Scope.READ), id="reading-with-a-token"),
        pytest.param(head(peer="10.0.0.9", **bearer(ACT)), Caller("alice", Scope.ACT), id="act-covers-reading"),
        pytest.param(head("POST", **bearer(ACT)), Caller("alice", Scope.ACT), id="acting"),
        pytest.param(head("DELETE", peer="10.0.0.9", **bearer(ACT)), Caller("alice", Scope.ACT), id="acting-from-afar"),
        pytest.param(
            head("POST", origin="http://127.0.0.1:9900", sec_fetch_site="same-origin", **bearer(ACT)),
            Caller("alice", Scope.ACT),
            id="acting-from-the-own-page",
        ),
        pytest.param(head(path="/healthz", peer="10.0.0.9"), None, id="health-is-open"),
        pytest.param(head(path="/metrics", peer="10.0.0.9"), None, id="metrics-are-open"),
        pytest.param(head("POST", path="/api/v1/what-if"), THIS_MACHINE, id="planning-only-is-reading"),
        pytest.param(
            head("POST", path="/what-if", peer="10.0.0.9", **bearer(READ)),
            Caller("grafana", Scope.READ),
            id="from-afar",
        ),
        pytest.param(head(path="/assets/0123/app.js", peer="10.0.0.9"), None, id="the-page's-files-are-open"),
        pytest.param(head("POST", path="/hooks/alertmanager", peer="10.0.0.9"), None, id="receivers-check-themselves"),
    ],
)
def test_who_asks(asked: Head, caller: Caller | None) -> None:
    assert judge(asked, TOKENS) == caller


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        pytest.param(head(peer="10.0.0.9"), 401, "no_token", id="reading-from-afar"),
        pytest.param(head(peer=None), 401, "no_token", id="reading-from-an-unknown-place"),
        pytest.param(head(x_forwarded_for="127.0.0.1"), 401, "no_token", id="reading-through-a-proxy-here"),
        pytest.param(head(host="evil.example:9900"), 401, "no_token", id="a-name-rebound-to-this-machine"),
        pytest.param(head(host=""), 401, "no_token", id="no-host"),
        pytest.param(head(host="[evil"), 401, "no_token", id="a-host-that-is-none"),
        pytest.param(head(peer="10.0.0.9", **bearer("guess")), 401, "wrong_token", id="a-guess"),
        pytest.param(head(**bearer("guess")), 401, "wrong_token", id="a-guess-from-here-is-no-reader-either"),
        pytest.param(head(authorization=f"Basic {ACT}"), 401, "wrong_token", id="another-kind-of-header"),
        pytest.param(head("POST"), 401, "no_token", id="acting-without-a-token-from-here"),
        pytest.param(head("DELETE", peer="10.0.0.9"), 401, "no_token", id="acting-without-a-token-from-afar"),
        pytest.param(head("POST", path="/healthz"), 401, "no_token", id="acting-on-an-open-path"),
        pytest.param(head("POST", **bearer(READ)), 403, "scope", id="acting-with-a-reader's-token"),
        pytest.param(
            head("POST", origin="https://evil.example", **bearer(ACT)), 403, "cross_site", id="from-another-site"
        ),
        pytest.param(
            head("POST", path="/what-if", sec_fetch_site="cross-site"), 403, "cross_site", id="planning-for-others"
        ),
        pytest.param(head("POST", path="/what-if", peer="10.0.0.9"), 401, "no_token", id="planning-from-afar"),
        pytest.param(head("POST", origin="null", **bearer(ACT)), 403, "cross_site", id="from-nowhere"),
        pytest.param(
            head("POST", sec_fetch_site="same-site", **bearer(ACT)), 403, "cross_site", id="from-a-sister-site"
        ),
    ],
)
def test_who_may_not(asked: Head, status: int, reason: str) -> None:
    verdict = judge(asked, TOKENS)

    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.reason) == (status, reason)
    assert "guess" not in verdict.sentence


def test_without_any_tokens_the_refusal_says_how_to_make_some() -> None:
    verdict = judge(head("POST"), parse_tokens("", "nothing"))

    assert isinstance(verdict, Refusal)
    assert "FORESERVE_API_TOKENS_FILE" in verdict.sentence


@pytest.fixture
async def served() -> AsyncIterator[SimpleNamespace]:
    refused, acted = list[str](), list[Any]()
    app = api(
        latest=LatestTick(VirtualClock()),
        policy=lambda: pytest.fail("not asked"),
        records=lambda **_: [],
        registry=MetricsExporter().registry,
        tokens=lambda: TOKENS,
        refused=refused.append,
    )

    @app.post("/api/v1/act")
    async def act(request: Request) -> int:
        acted.append((request.state.caller.name, await request.body()))
        return len(acted[-1][1])

    server = ApiServer(app, listen("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve())
    async with aiohttp.ClientSession(server.address) as session:
        yield SimpleNamespace(session=session, address=server.address, refused=refused, acted=acted)
    server.stop()
    await serving


async def post(served: SimpleNamespace, data: Any = b"", token: str | None = ACT, **headers: str) -> tuple[int, Any]:
    named = {**headers, **({} if token is None else bearer(token))}
    async with served.session.post("/api/v1/act", data=data, headers=named) as response:
        return response.status, await response.json()


async def test_acting_needs_a_token_that_may(served: SimpleNamespace) -> None:
    assert await post(served, b"go") == (200, 2)
    assert [(await post(served, token=token))[0] for token in (None, READ, "x" * 20)] == [401, 403, 401]
    assert served.acted == [("alice", b"go")]
    assert served.refused == ["no_token", "scope", "wrong_token"]


async def test_a_browser_on_another_site_cannot_act(served: SimpleNamespace) -> None:
    status, body = await post(served, origin="https://evil.example")

    assert (status, served.acted) == (403, [])
    assert "another site" in body["detail"]


async def test_whose_token_it_is_can_be_asked(served: SimpleNamespace) -> None:
    async with served.session.get("/api/v1/whoami", headers=bearer(READ)) as response:
        assert await response.json() == {"name": "grafana", "scope": "read"}
    async with served.session.get("/api/v1/whoami") as response:
        assert await response.json() == {"name": "this machine", "scope": "read"}


async def test_a_refusal_has_the_same_headers_and_asks_for_a_token(served: SimpleNamespace) -> None:
    async with served.session.post("/api/v1/act") as response:
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_be_so_large_and_no_larger(served: SimpleNamespace, chunked: bool) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024

    most = pieces(MOST_BYTES) if chunked else b"x" * MOST_BYTES
    more = pieces(MOST_BYTES + 1024) if chunked else b"x" * (MOST_BYTES + 1)

    assert await post(served, most) == (200, MOST_BYTES)
    status, body = await post(served, more)

    assert (status, body) == (413, {"detail": "the body is larger than 64 KiB, which is the most taken here"})
    assert served.refused == ["oversized"]


async def test_a_body_that_does_not_come_is_not_waited_for(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BodyLimits.__init__, "__kwdefaults__", {"within_s": 0.05})

    reader, writer = await connection(served)
    writer.write(
        b"POST /api/v1/act HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n"
        + f"Authorization: Bearer {ACT}\r\n\r\nhalf".encode()
    )
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not come within 0.05 s" in answer


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: 127"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server_module, "_HEAD_WITHIN_S", 0.05)

    reader, writer = await connection(served)
    writer.write(sent)

    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_connection_may_be_used_again_and_then_has_its_time_again(
    served: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_HEAD_WITHIN_S", 0.2)
    request = b"GET /api/v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    reader, writer = await connection(served)
    for _ in range(3):
        writer.write(request)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    writer.write(request[:20])

    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def connection(served: SimpleNamespace) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = served.address.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))
