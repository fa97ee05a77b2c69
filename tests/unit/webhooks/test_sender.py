"""One attempt over real HTTP: what counts as delivered, as worth another try, and as hopeless; what never shows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.webhooks.sender import Delivered, GiveUp, Result, Sender, TryAgain
from controller.webhooks.signing import verify
from tests.webhooks import SinkServer, event, sink

NOW = 1_700_000_000.0


@pytest.fixture
async def server() -> AsyncIterator[SinkServer]:
    async with SinkServer() as started:
        yield started


async def sent(wanted: Any) -> Result:
    sender = Sender(wanted, source="foreserve")
    try:
        return await sender.send(event(), now=NOW)
    finally:
        await sender.close()


async def test_what_is_answered_with_2xx_is_delivered_signed_and_named(server: SinkServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key\n")

    assert await sent(sink(server.url, secret_file=str(tmp_path / "key"))) == Delivered()

    (one,) = server.received
    assert verify("a key", one.headers, one.body, now=NOW) == event().id
    assert one.headers["idempotency-key"] == one.json["id"] == event().id
    assert one.headers["content-type"] == "application/cloudevents+json"


@pytest.mark.parametrize(
    ("status", "headers", "result"),
    [
        (500, {}, TryAgain("127.0.0.1 answered 500: no")),
        (503, {"Retry-After": "7"}, TryAgain("127.0.0.1 answered 503: no", 7.0)),
        (429, {"Retry-After": "99999"}, TryAgain("127.0.0.1 answered 429: no", 3600.0)),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, TryAgain("127.0.0.1 answered 429: no")),
        (408, {}, TryAgain("127.0.0.1 answered 408: no")),
        (400, {}, GiveUp("127.0.0.1 answered 400: no")),
        (404, {}, GiveUp("127.0.0.1 answered 404: no")),
        (
            302,
            {"Location": "http://169.254.169.254/latest/meta-data"},
            GiveUp("127.0.0.1 answered 302: it leads elsewhere, which is not followed; give the final address"),
        ),
    ],
)
async def test_what_an_answer_means(server: SinkServer, status: int, headers: dict[str, str], result: Result) -> None:
    server.answer = lambda _: web.Response(status=status, headers=headers, text="no")

    assert await sent(sink(server.url)) == result
    assert len(server.received) == 1


async def test_a_sink_that_does_not_answer_in_time_may_be_tried_again(server: SinkServer) -> None:
    server.pause_s = 5.0

    assert await sent(sink(server.url, timeout_s=0.05)) == TryAgain("127.0.0.1 gave no answer within 0.05 s")


async def test_a_sink_that_is_not_there_may_be_tried_again(server: SinkServer) -> None:
    await server.__aexit__()

    result = await sent(sink(server.url))

    assert result == TryAgain("127.0.0.1 cannot be reached (Connection refused)")


async def test_a_name_that_is_not_known_may_be_tried_again() -> None:
    result = await sent(sink("http://no-such-host.invalid/secret-path"))

    assert isinstance(result, TryAgain)
    assert result.why.startswith("no-such-host.invalid cannot be reached (")
    assert "secret-path" not in result.why


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "169.254.169.254"])
async def test_a_forbidden_address_gets_nothing(server: SinkServer, host: str) -> None:
    port = server.url.split(":")[2].partition("/")[0]

    result = await sent(sink(f"http://{host}:{port}/x", allow_addresses=[]))

    assert isinstance(result, GiveUp)
    assert "allow_addresses" in result.why
    assert server.received == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_a_forbidden_address_in_disguise_gets_nothing_either(server: SinkServer, host: str) -> None:
    port = server.url.split(":")[2].partition("/")[0]

    assert not isinstance(await sent(sink(f"http://{host}:{port}/x", allow_addresses=[])), Delivered)
    assert server.received == []


async def test_a_proxy_of_the_environment_is_not_used(server: SinkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert await sent(sink(server.url)) == Delivered()


async def test_cookies_are_not_kept(server: SinkServer) -> None:
    server.answer = lambda _: web.Response(headers={"Set-Cookie": "a=b"})
    sender = Sender(sink(server.url), source="foreserve")

    for _ in range(2):
        assert await sender.send(event(), now=NOW) == Delivered()
    await sender.close()

    assert all("cookie" not in one.headers for one in server.received)


async def test_an_address_may_be_a_secret_and_is_read_anew_each_time(
    server: SinkServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    sender = Sender(sink(None, url_file=str(file)), source="foreserve")

    missing = await sender.send(event(), now=NOW)
    file.write_text(f"{server.url}/t0ken\n")
    found = await sender.send(event(), now=NOW)
    await sender.close()

    assert missing == TryAgain(f"url_file: {file} cannot be read (No such file or directory)")
    assert found == Delivered()
    monkeypatch.setenv("SLACK_URL", "nonsense-t0ken")
    result = await sent(sink(None, url_env="SLACK_URL"))
    assert isinstance(result, TryAgain)
    assert "t0ken" not in result.why


async def test_no_message_shows_an_address_or_a_key(server: SinkServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret")
    await server.__aexit__()

    result = await sent(sink(f"{server.url}/t0ken?key=t0ken", secret_file=str(tmp_path / "key")))

    assert isinstance(result, TryAgain)
    assert "t0ken" not in result.why
    assert "s3cret" not in result.why


async def test_an_answer_without_an_end_is_not_read_to_it(server: SinkServer) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    server.answer = lambda _: web.Response(status=200, body=endless())

    assert await sent(sink(server.url)) == Delivered()


async def test_a_template_that_fails_on_one_event_is_hopeless(server: SinkServer) -> None:
    wanted = sink(server.url, kind="template", template="{{ event.facts['to'].x if event.facts else 1 }}")

    result = await sent(wanted)

    assert isinstance(result, GiveUp)
    assert "the template cannot be used" in result.why
