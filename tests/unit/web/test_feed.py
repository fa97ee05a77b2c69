"""The stream of ticks: resumed where it was left, bounded, and alive while nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from controller.web.feed import Feed
from controller.web.stream import EventStream


def feed(*numbers: int, **settings: float) -> Feed:
    made = Feed(**settings)
    for number in numbers:
        made.publish(number, f'{{"tick": {number}}}')
    return made


async def take(chunks: AsyncGenerator[str, None], count: int) -> list[str]:
    """The names or numbers of the next messages, the first (how soon to try again) left out."""
    assert (await anext(chunks)).startswith("retry: ")
    found = [await asyncio.wait_for(anext(chunks), 5) for _ in range(count)]
    await chunks.aclose()
    return [chunk.splitlines()[0] for chunk in found]


async def test_a_new_follower_gets_the_newest_message_and_then_what_comes() -> None:
    news = feed(1, 2, 3)
    chunks = news.follow(None)
    before = [await anext(chunks), await anext(chunks)]
    news.publish(4, "{}")
    after = await asyncio.wait_for(anext(chunks), 5)
    await chunks.aclose()

    assert before[1].startswith("id: 3\n")
    assert after.startswith("id: 4\n")


async def test_one_that_comes_back_gets_what_it_missed() -> None:
    assert await take(feed(1, 2, 3, 4).follow(2), 2) == ["id: 3", "id: 4"]


@pytest.mark.parametrize("last", [3, 900], ids=["more than is kept", "the numbers began anew"])
async def test_one_that_missed_too_much_is_told_to_begin_anew(last: int) -> None:
    news = feed(*range(10, 20), kept=4)

    assert await take(news.follow(last), 2) == ["event: reset", "id: 16"]


async def test_a_heartbeat_comes_while_nothing_happens() -> None:
    assert await take(feed(heartbeat_s=0.01).follow(None), 2) == [": still here", ": still here"]


async def test_places_are_bounded_and_given_back() -> None:
    news = feed(1, most_followers=2)
    first, second = news.follow(None), news.follow(None)
    await anext(first)
    assert not news.full
    await anext(second)
    assert news.full

    await first.aclose()

    assert not news.full
    await second.aclose()


async def test_closing_lets_everybody_go() -> None:
    news = feed(1)
    gone = asyncio.create_task(_all(news.follow(None)))
    await asyncio.sleep(0)
    news.close()

    assert (await asyncio.wait_for(gone, 5))[-1].startswith("id: 1")


async def test_a_reader_that_leaves_gives_its_place_back() -> None:
    news, left, sent, served = feed(1), asyncio.Event(), [], asyncio.Event()

    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)
        if message.get("body", b"").startswith(b"id: "):
            served.set()

    serving = asyncio.create_task(EventStream(news.follow(None))({}, receive, send))
    await asyncio.wait_for(served.wait(), 5)
    assert news._followers
    left.set()
    await asyncio.wait_for(serving, 5)

    assert not news._followers
    assert sent[0]["status"] == 200


async def _all(chunks: AsyncGenerator[str, None]) -> list[str]:
    return [chunk async for chunk in chunks]
