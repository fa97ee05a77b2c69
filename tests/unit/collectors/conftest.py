"""Real servers on loopback, well-behaved and not."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from controller.clock import SystemClock

CAPTURES = Path(__file__).parents[2] / "data" / "captures"


@pytest.fixture
def capture():
    """Read one recorded page by name."""
    return lambda name: gzip.decompress((CAPTURES / f"{name}.prom.gz").read_bytes())


@pytest.fixture
def clock():
    return SystemClock()


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def serve():
    """Start a server whose handler answers every path; gives its base URL."""
    servers = []

    async def start(handler, *, port=None):
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", handler)
        server = TestServer(app, host="127.0.0.1", port=port)
        servers.append(server)
        await server.start_server()
        return f"http://127.0.0.1:{server.port}"

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def serve_page(serve):
    """Start a server that answers with one body."""

    async def start(body, *, status=200, headers=None, port=None):
        async def handler(_request):
            return web.Response(body=body, status=status, headers=headers)

        return await serve(handler, port=port)

    return start


@pytest.fixture
async def serve_raw():
    """Start a server that sends exactly ``answer`` and then closes, or keeps the connection open."""
    servers, tasks = [], set()

    async def start(answer, *, then_hang=False):
        async def talk(reader, writer):
            tasks.add(asyncio.current_task())
            await reader.readuntil(b"\r\n\r\n")
            for part in answer:
                writer.write(part)
                await writer.drain()
            if then_hang:
                await reader.read()
            writer.close()

        async def guarded(reader, writer):
            try:
                await talk(reader, writer)
            except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
                writer.close()

        server = await asyncio.start_server(guarded, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def refused():
    """A base URL where nobody listens."""
    return "http://127.0.0.1:1"
