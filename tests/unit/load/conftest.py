"""A service on loopback that streams what a test scripts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server whose chat completions are answered by a handler; returns its address."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


class Chat:
    """Writes a chat completion stream in the form that vLLM gives it."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})

    async def open(self) -> Chat:
        await self._response.prepare(self._request)
        await self.event({"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
        return self

    async def event(self, payload: object) -> None:
        await self._response.write(b"data: " + json.dumps(payload).encode() + b"\n\n")

    async def token(self, text: str = " word") -> None:
        await self.event({"choices": [{"delta": {"content": text}, "finish_reason": None}]})

    async def usage(self, prompt_tokens: int, output_tokens: int) -> None:
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": output_tokens}
        await self.event({"choices": [], "usage": usage})

    async def done(self) -> web.StreamResponse:
        await self._response.write(b"data: [DONE]\n\n")
        await self._response.write_eof()
        return self._response

    async def end_without_mark(self) -> web.StreamResponse:
        await self._response.write_eof()
        return self._response

    def drop(self) -> web.StreamResponse:
        assert self._request.transport is not None
        self._request.transport.abort()
        return self._response


@pytest.fixture
def chat() -> type[Chat]:
    return Chat
