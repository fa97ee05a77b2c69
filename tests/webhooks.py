"""A sink on loopback that does as it is told, and a courier that carries to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from controller.domain.event import Event, Gravity, Phase, Topic
from controller.policy.webhooks import SinkPolicy
from tests.records import CHAT

LOOPBACK = {"allow_addresses": ["127.0.0.0/8", "::1/128"]}


def event(number: int = 1, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": f"{number:032x}",
        "topic": Topic.CAPACITY_LATE,
        "phase": Phase.BEGAN,
        "at": 1_700_000_000.0 + number,
        "key": "capacity_late/chat",
        "gravity": Gravity.ERROR,
        "summary": "chat/LLMServer:tiny: 2 → 3 replicas are late to serve",
        "deployment": CHAT,
        "facts": {"from": 2, "to": 3},
    }
    return Event(**{**fields, **changes})


def sink(url: str | None, **changes: Any) -> SinkPolicy:
    fields: dict[str, Any] = {"name": "ops", "kind": "cloudevents", "url": url, "rate_per_minute": 6000, **LOOPBACK}
    return SinkPolicy.model_validate({**fields, **changes})


@dataclass
class Received:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class SinkServer:
    """A real HTTP server; ``answer`` says what each request gets (default: 204)."""

    answer: Callable[[Received], web.StreamResponse] = lambda _: web.Response(status=204)
    received: list[Received] = field(default_factory=list)
    pause_s: float = 0.0
    url: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        one = Received({name.lower(): value for name, value in request.headers.items()}, await request.read())
        self.received.append(one)
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        return self.answer(one)

    @property
    def ids(self) -> Counter[str]:
        return Counter(one.headers["webhook-id"] for one in self.received)


def failing_half_the_time(seed: int = 1) -> Callable[[Received], web.StreamResponse]:
    """Fail every other request or so; a part of those that fail was taken all the same, as after a lost answer."""
    draw = random.Random(seed)
    return lambda _: web.Response(status=204 if draw.random() < 0.5 else draw.choice([500, 502, 503, 429]))


async def until(true: Callable[[], Any], *, within_s: float = 20.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is awaited is anybody's
            await asyncio.sleep(0.01)


def bodies(received: Iterable[Received]) -> list[Any]:
    return [one.json for one in received]
