"""Stands between the controller and the API server: moves real times to the scaled clock, fails, and keeps account.

The API server dates what it makes by the real clock, to the second. A real second is ``speed`` seconds of the scaled
clock, so such times are taken to be the end of their second, and never later than now: nothing seems to be older
than what caused it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

from controller.simulated_cloud.clock import ScaledClock
from controller.simulated_cloud.kube import Server, rfc3339, unix

_TIME = re.compile(r'"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"')
_PASSED_ON = ("Content-Type", "Accept", "User-Agent")


@dataclass(frozen=True)
class Write:
    """One write as the controller sent it; ``at`` is the scaled time."""

    at: float
    method: str
    path: str
    body: Any
    status: int


@dataclass
class ApiProxy:
    """Use as ``async with ApiProxy(server, clock) as proxy: ... proxy.url``. ``gone`` drops every connection.

    The next requests are answered by ``refusals`` instead (None passes one on), the next writes by ``refused_writes``,
    ``always`` by one status; of ``lost`` writes that are carried out the answer does not come back. ``meanwhile``
    happens once, between a writer's last look and its write. ``reads`` are paths and queries.
    """

    server: Server
    clock: ScaledClock
    url: str = ""
    gone: bool = False
    refusals: list[int | None] = field(default_factory=list)
    refused_writes: list[int] = field(default_factory=list)
    always: int | None = None
    lost: int = 0
    meanwhile: Callable[[], Awaitable[object]] | None = None
    reads: list[str] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    _session: aiohttp.ClientSession = field(init=False)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=32_000_000)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        await self._session.close()

    def kubeconfig(self, namespace: str) -> str:
        """A kubeconfig file's content, with which the controller comes here; the proxy adds who it is to the server."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "proxy",
                "contexts": [
                    {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy", "namespace": namespace}}
                ],
                "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
                "users": [{"name": "proxy", "user": {"token": "of-the-proxy"}}],
            }
        )

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self.gone and request.transport is not None:
            request.transport.close()
            return web.Response(status=503)
        refused = self.always or (self.refusals.pop(0) if self.refusals else None)
        if request.method == "GET":
            self.reads.append(request.raw_path)
        elif refused is None:
            refused = self.refused_writes.pop(0) if self.refused_writes else None
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                await meanwhile()
        if refused is not None:
            return web.json_response({"kind": "Status", "message": "not now"}, status=refused)
        body = await request.read()
        given = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers = {**self.server.headers, **given}
        async with self._session.request(
            request.method, self.server.url + request.raw_path, data=body or None, headers=headers, ssl=self.server.tls
        ) as answer:
            text = await answer.text()
            status, kind = answer.status, answer.content_type
        if request.method != "GET":
            content = json.loads(body) if body else None
            self.writes.append(Write(self.clock.now(), request.method, request.path, content, status))
            if self.lost:
                self.lost -= 1
                return web.json_response({"kind": "Status", "message": "timeout"}, status=504)
        return web.Response(status=status, text=_TIME.sub(self._moved, text), content_type=kind)

    def _moved(self, found: re.Match[str]) -> str:
        at = unix(found[1])
        if at >= self.clock.origin:
            return found[0]
        return f'"{rfc3339(min(self.clock.now(), self.clock.scaled(at + 1.0)))}"'
