"""A request's body is read whole before anything looks at it, within a size and a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.api.access import DRY, HOOKS

MOST_BYTES = 64 << 10
MOST_HOOK_BYTES = 1 << 20
"""Alertmanager sends all alerts of a group at once."""
MOST_POLICY_BYTES = 256 << 10
"""A policy that is tried: hundreds of deployments, commented."""
WITHIN_S = 5.0

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class BodyLimits:
    """Refuses a body that is too large (413) or comes too slowly (408)."""

    def __init__(self, app: ASGIApp, *, refused: Callable[[str], None], within_s: float = WITHIN_S) -> None:
        """``refused`` is called with the reason of every refusal."""
        self._app = app
        self._refused = refused
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request's body, and pass it on as one message."""
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        most = _most(scope["path"])
        try:
            body = await self._body(Headers(scope=scope), receive, most)
        except _RefusedError as refusal:
            self._refused(refusal.reason)
            answer = JSONResponse({"detail": str(refusal)}, refusal.status, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _body(self, headers: Headers, receive: Receive, most: int) -> bytes:
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        try:
            async with asyncio.timeout(self._within_s):
                return await _read(receive, most)
        except TimeoutError:
            raise _RefusedError(408, "slow", f"the body did not come within {self._within_s:g} s") from None


def _most(path: str) -> int:
    if path.startswith(HOOKS):
        return MOST_HOOK_BYTES
    return MOST_POLICY_BYTES if path in DRY else MOST_BYTES


class _RefusedError(Exception):
    """``str()`` is the sentence, ``reason`` one word for counting."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason


def _too_large(most: int) -> _RefusedError:
    return _RefusedError(413, "oversized", f"the body is larger than {most // 1024} KiB, which is the most taken here")


async def _read(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message
