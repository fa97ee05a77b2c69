"""Splits traffic between two builds: by weight, sticky by key, or as a shadow; and counts how each one does.

Import path ``serving.split:build``. Each build is an application of its own with its own address, scaled by itself.
What stands before them here costs a hop: use it for the time of a test.

``GET /-/split`` tells shares and counts, ``PUT /-/split`` sets the canary's share (with a token), for good or for a
while. The controller (``canaries`` of its policy) or ``foreserve canary`` does both: it raises the share step by step
while the canary does no worse, and takes it back to 0 when it does. Not renewed, an unfinished share lapses to 0.

A request that the canary refuses or fails before its first byte goes to the stable build, and counts against the
canary all the same. When the board that holds the share is lost, everything goes to the stable build.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.util import metrics
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.split_board import SplitBoard
from serving.split_counts import CANARY, STABLE, Counts, to_canary

_SYNC_S = 0.5
_HOP = {b"host", b"connection", b"transfer-encoding", b"content-length", b"keep-alive"}


class SplitArgs(BaseModel):
    """Arguments of ``build``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stable: str = Field(description="Base address of the build that is trusted.")
    canary: str = Field(description="Base address of the one that is tried.")
    share: float = Field(default=0.0, ge=0, le=1, description="Of requests, to the canary, at first.")
    shadow: float = Field(default=0.0, ge=0, le=1, description="Of requests, copied to the canary; answers dropped.")
    sticky_header: str = Field(default="x-session-id", description="Requests with the same value go to the same build.")
    token_file: str | None = Field(default=None, description="Who may set the share; nobody without one.")
    replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=0.1, ge=0)


class Wanted(BaseModel):
    """The body of ``PUT /-/split``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(ge=0, le=1, description="Of requests, to the canary.")
    for_s: float | None = Field(default=None, gt=0, description="Seconds until it is 0 again unless renewed.")
    note: str | None = Field(default=None, max_length=10_000, description="Kept for whoever asks.")


class Split:
    """The ingress: sends each request to one of the builds, and streams its answer back."""

    def __init__(self, board: DeploymentHandle, args: dict[str, Any]) -> None:
        self._args = SplitArgs.model_validate(args)
        self._board = board
        self._share = 0.0  # until the board has been heard, nothing is tried
        self._epoch = 0
        self._counted = {STABLE: Counts(), CANARY: Counts()}
        self._requests = metrics.Counter(
            "foreserve_split_requests", description="Requests by build and outcome.", tag_keys=("build", "outcome")
        )
        self._shown = metrics.Gauge("foreserve_split_share", description="Share of the canary.", tag_keys=("build",))
        self._tasks: set[asyncio.Task[None]] = set()

    async def __serve_build_asgi_app__(self) -> Any:
        """Serve's hook."""
        timeout = aiohttp.ClientTimeout(total=None, connect=5)
        self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        self._keep(self._exchange())
        routes = [
            Route("/-/split", self._read, methods=["GET"]),
            Route("/-/split", self._set, methods=["PUT"]),
            Route("/{path:path}", self._forward, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes)

    async def _read(self, _: Request) -> Response:
        return JSONResponse(await self._board.read.remote())

    async def _set(self, request: Request) -> Response:
        if not self._may_set(request.headers.get("authorization")):
            return JSONResponse({"detail": "a token is needed: Authorization: Bearer TOKEN"}, status_code=401)
        try:
            wanted = Wanted.model_validate_json(await request.body())
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            return JSONResponse({"detail": f"give share, from 0 to 1 ({said})"}, status_code=422)
        await self._board.set.remote(wanted.share, wanted.for_s, wanted.note)
        return JSONResponse({"share": wanted.share})

    async def _forward(self, request: Request) -> Response:
        body = await request.body()
        key = request.headers.get(self._args.sticky_header)
        build = CANARY if to_canary(key, self._share) else STABLE
        if build == STABLE and self._args.shadow and to_canary(key, self._args.shadow):
            self._keep(self._shadowed(request, body))
        answer, began = await self._asked(build, request, body)
        if answer is None and build == CANARY:
            build = STABLE
            answer, began = await self._asked(build, request, body)
        if answer is None:
            return JSONResponse({"error": {"message": "neither build answers"}}, status_code=502)
        headers = {"content-type": answer.content_type, "x-build": build}
        return StreamingResponse(self._stream(answer, build, began), answer.status, headers)

    async def _asked(self, build: str, request: Request, body: bytes) -> tuple[aiohttp.ClientResponse | None, float]:
        """Send it to one build; None when that refused, failed, or answered with a server's error."""
        began = time.monotonic()
        base = self._args.canary if build == CANARY else self._args.stable
        headers = {k.decode(): v.decode() for k, v in request.headers.raw if k not in _HOP}
        url = f"{base.rstrip('/')}/{request.path_params['path']}"
        try:
            answer = await self._session.request(request.method, url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._count(build, None)
            return None, began
        if answer.status >= 500:  # noqa: PLR2004
            answer.release()
            self._count(build, None)
            return None, began
        return answer, began

    async def _stream(self, answer: aiohttp.ClientResponse, build: str, began: float) -> AsyncIterator[bytes]:
        first_s, whole = None, False
        try:
            async for chunk in answer.content.iter_any():
                first_s = time.monotonic() - began if first_s is None else first_s
                yield chunk
            whole = True
        finally:
            answer.close()
            self._count(build, first_s if whole else None)

    async def _shadowed(self, request: Request, body: bytes) -> None:
        answer, began = await self._asked(CANARY, request, body)
        if answer is not None:
            async for _ in self._stream(answer, CANARY, began):
                pass

    def _count(self, build: str, first_s: float | None) -> None:
        self._counted[build].add(first_s=first_s)
        self._requests.inc(1, tags={"build": build, "outcome": "failed" if first_s is None else "ok"})

    async def _exchange(self) -> None:
        """Give the board what was counted, and take the share, for ever."""
        while True:
            counted = {name: one.model_dump() for name, one in self._counted.items() if one.requests}
            self._counted = {STABLE: Counts(), CANARY: Counts()}
            try:
                share, epoch = await asyncio.wait_for(self._board.exchange.remote(self._epoch, counted), 5)
            except Exception:  # noqa: BLE001 - whatever it is, the board is lost for now
                share, epoch = 0.0, self._epoch
            if epoch != self._epoch:
                self._counted = {STABLE: Counts(), CANARY: Counts()}
            self._share, self._epoch = share, epoch
            self._shown.set(share, tags={"build": CANARY})
            await asyncio.sleep(_SYNC_S)

    def _may_set(self, authorization: str | None) -> bool:
        if self._args.token_file is None:
            return False
        with contextlib.suppress(OSError):
            token = Path(self._args.token_file).read_text(encoding="utf-8").strip()
            return bool(token) and hmac.compare_digest((authorization or "").encode(), f"Bearer {token}".encode())
        return False

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def build(args: dict[str, Any]) -> Any:
    """Build the application. Called by Serve with the config's ``args``."""
    wanted = SplitArgs.model_validate(json.loads(json.dumps(args)))
    small = {"ray_actor_options": {"num_cpus": wanted.cpus}, "max_ongoing_requests": 2000}
    board = serve.deployment(SplitBoard, num_replicas=1, **small).bind(wanted.share)
    split = serve.deployment(serve.ingress()(Split), name="Split", num_replicas=wanted.replicas, **small)
    return split.bind(board, wanted.model_dump())
