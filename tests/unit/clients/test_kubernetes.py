"""The client against a server on loopback that answers as told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.clients.kubernetes import KubernetesClient, KubernetesRefusedError, KubernetesUnavailableError, Timing
from controller.clients.kubernetes_config import connection
from controller.clock import SystemClock
from controller.errors import BadInputError

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def kubeconfig(path: Path, port: int, token: str = "first") -> Path:
    path.write_text(
        f"""
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: c, user: u, namespace: team}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
"""
    )
    return path


class Server:
    """Answers each request with the next of ``answers``, and with the last one from then on."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.answers: list[Answer] = []
        self.seen: list[web.Request] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.answers[min(len(self.seen), len(self.answers)) - 1](request)


def says(status: int, body: Any = None, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"message": f"status {status}"} if body is None else body, status=status, headers=headers
        )

    return answer


async def hangs(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def babbles(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>proxy</html>")


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    server = Server(tmp_path / "config")
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(server.config, server.port)))
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KubernetesClient]:
    assert server.port
    timing = Timing(attempts=3, deadline_s=2.0, attempt_s=0.3, backoff_s=0.01)
    client = KubernetesClient(connection(), clock=SystemClock(), rng=random.Random(1), timing=timing)
    yield client
    await client.close()


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(says(429), id="too-many-requests"),
        pytest.param(says(500), id="server-error"),
        pytest.param(says(503), id="unavailable"),
        pytest.param(hangs, id="no-answer"),
        pytest.param(hangs_up, id="connection-lost"),
        pytest.param(babbles, id="not-json"),
    ],
)
async def test_a_passing_failure_is_tried_again(client: KubernetesClient, server: Server, failure: Answer) -> None:
    server.answers = [failure, failure, says(200, {"kind": "Node"})]

    assert await client.get("/api/v1/nodes/n") == {"kind": "Node"}
    assert len(server.seen) == 3


async def test_a_lasting_failure_ends_with_its_reason_after_the_attempts(
    client: KubernetesClient, server: Server
) -> None:
    server.answers = [says(503, {"message": "etcd is slow"})]

    with pytest.raises(KubernetesUnavailableError, match="GET /api/v1/nodes/n: 503: etcd is slow"):
        await client.get("/api/v1/nodes/n")
    assert len(server.seen) == 3


async def test_the_server_is_not_asked_again_sooner_than_it_wants(client: KubernetesClient, server: Server) -> None:
    server.answers = [says(429, None, **{"Retry-After": "30"})]

    with pytest.raises(KubernetesUnavailableError, match=r"no answer within 2 s; last: .*429"):
        await client.get("/x")
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
async def test_a_refusal_is_told_at_once_with_the_servers_words(
    client: KubernetesClient, server: Server, status: int
) -> None:
    server.answers = [says(status, {"message": "pods is forbidden:\n User x"})]

    with pytest.raises(KubernetesRefusedError, match=f"{status}: pods is forbidden: User x") as refused:
        await client.create("/api/v1/pods", {})
    assert refused.value.status == status
    assert len(server.seen) == 1


async def test_a_token_that_ran_out_is_read_again_once(client: KubernetesClient, server: Server) -> None:
    async def by_token(request: web.Request) -> web.StreamResponse:
        known = request.headers["Authorization"] == "Bearer second"
        return web.json_response(
            {"kind": "Node"} if known else {"message": "Unauthorized"}, status=200 if known else 401
        )

    server.answers = [by_token]
    with pytest.raises(KubernetesRefusedError, match="401: Unauthorized"):
        await client.get("/x")
    kubeconfig(server.config, server.port, "second")

    assert await client.get("/x") == {"kind": "Node"}
    assert all("first" not in str(request.url) for request in server.seen)


async def test_a_list_is_read_by_pages_and_begun_again_when_it_has_expired(
    client: KubernetesClient, server: Server
) -> None:
    first = says(200, {"items": [{"n": 1}, {"n": 2}], "metadata": {"continue": "more"}})
    last = says(200, {"items": [{"n": 3}], "metadata": {}})
    server.answers = [first, says(410), first, last]

    listing = await client.list("/api/v1/pods", labels="a=b")

    assert [item["n"] for item in listing.items] == [1, 2, 3]
    assert not listing.cut
    assert [request.query.get("continue") for request in server.seen] == [None, "more", None, "more"]
    assert {request.query["labelSelector"] for request in server.seen} == {"a=b"}


async def test_a_list_that_is_too_long_is_cut_and_says_so(client: KubernetesClient, server: Server) -> None:
    server.answers = [says(200, {"items": [{}] * 2, "metadata": {"continue": "more"}})]

    listing = await client.list("/api/v1/pods", most=3)

    assert (len(listing.items), listing.cut) == (3, True)
    assert len(server.seen) == 2


async def test_an_unreachable_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", 1)))
    timing = Timing(attempts=1, deadline_s=2.0)
    client = KubernetesClient(connection(), clock=SystemClock(), rng=random.Random(1), timing=timing)

    with pytest.raises(KubernetesUnavailableError, match=r"Kubernetes at 127\.0\.0\.1:1 cannot be reached"):
        await client.get("/x")
    await client.close()


def test_the_context_says_the_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", 1)))

    assert connection().namespace == "team"
    assert connection("here").namespace == "team"


@pytest.mark.parametrize(
    ("text", "context", "says"),
    [
        pytest.param(None, None, "no such file; set KUBECONFIG", id="no-file"),
        pytest.param("{}", None, "no context is in use; choose one of none", id="empty"),
        pytest.param("contexts: [{name: a}]", "b", "there is no context 'b'; choose one of a", id="unknown-context"),
        pytest.param("contexts: 5", None, "cannot be read as a kubeconfig", id="wrong-type"),
        pytest.param("a: [", None, "cannot be read as a kubeconfig", id="no-yaml"),
    ],
)
def test_a_wrong_kubeconfig_is_refused_with_what_would_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, context: str | None, says: str
) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(file))

    with pytest.raises(BadInputError, match=says):
        connection(context)
