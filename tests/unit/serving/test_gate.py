"""Who is let through to the engine, and how many at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from serving.gate import Gate, Keys


class Slow:
    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.inside = 0

    def app(self) -> Starlette:
        async def answer(_: object) -> PlainTextResponse:
            self.inside += 1
            await self.go_on.wait()
            return PlainTextResponse("done")

        async def health(_: object) -> PlainTextResponse:
            return PlainTextResponse("well")

        return Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"]), Route("/health", health)])


def through(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t")


async def test_too_many_at_once_are_sent_away_with_a_time_to_come_back() -> None:
    slow = Slow()
    client = through(Gate(slow.app(), keys=Keys(None), shed_above=2))
    first = [asyncio.create_task(client.post("/v1/chat/completions")) for _ in range(2)]
    while slow.inside < 2:  # noqa: ASYNC110 - a condition of the test's own
        await asyncio.sleep(0)  # until both are inside

    refused = [await client.post("/v1/chat/completions") for _ in range(5)]
    slow.go_on.set()

    assert [answer.status_code for answer in refused] == [429] * 5
    waits = [int(answer.headers["retry-after"]) for answer in refused]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    assert [answer.status_code for answer in await asyncio.gather(*first)] == [200, 200]
    assert (await client.post("/v1/chat/completions")).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [(None, 401), ("Bearer wrong", 401), ("Basic k1", 401), ("Bearer ", 401), ("Bearer k1", 200), ("bearer k2", 200)],
)
async def test_only_a_known_key_passes(tmp_path: Path, sent: str | None, status: int) -> None:
    slow, keys = Slow(), tmp_path / "keys"
    slow.go_on.set()
    keys.write_text("# two teams\nk1\n\nk2\n")
    client = through(Gate(slow.app(), keys=Keys(str(keys)), shed_above=None))

    answer = await client.post("/v1/chat/completions", headers={"Authorization": sent} if sent else {})

    assert answer.status_code == status
    assert (await client.get("/health")).status_code == 200


def test_a_key_that_is_taken_out_of_the_file_is_worth_nothing_any_more(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old")
    keys = Keys(str(file))
    assert keys.admit("Bearer old")

    file.write_text("newer")

    assert not keys.admit("Bearer old")
    assert keys.admit("Bearer newer")


@pytest.mark.parametrize("content", [None, "", "# nobody\n"])
def test_without_a_usable_file_nobody_is_let_in(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)

    assert not Keys(str(file)).admit("Bearer ")
    assert not Keys(str(file)).admit("Bearer x")


async def test_an_application_below_a_prefix_is_guarded_as_well(tmp_path: Path) -> None:
    async def answers(_: dict, __: object, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    file = tmp_path / "keys"
    file.write_text("k")
    transport = httpx.ASGITransport(app=Gate(answers, keys=Keys(str(file)), shed_above=None), root_path="/chat")
    client = httpx.AsyncClient(transport=transport, base_url="http://t")

    assert (await client.post("/chat/v1/chat/completions")).status_code == 401
    assert (await client.post("/chat/health")).status_code == 200
