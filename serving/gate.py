"""Stands before an engine's HTTP application: who may ask, and how many at once.

Both belong here and not in front: HAProxy sends requests straight to the replica, so this is the first place that
sees them whole, and the same for every engine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_GUARDED = "/v1/"
_LONGEST_WAIT_S = 30


class Keys:
    """Keys of clients, one a line in a file that is read again when it changes. Without a file everyone may ask.

    A file that cannot be read, or holds no key, lets nobody in.
    """

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._stamp: tuple[int, int] | None = None
        self._digests: tuple[bytes, ...] = ()

    def admit(self, authorization: str | None) -> bool:
        """Tell whether a request with this Authorization header may pass."""
        if self._path is None:
            return True
        self._refresh(self._path)
        kind, _, key = (authorization or "").partition(" ")
        given = hashlib.sha256(key.strip().encode()).digest()
        known = [hmac.compare_digest(given, digest) for digest in self._digests]
        return kind.lower() == "bearer" and any(known)

    def _refresh(self, path: Path) -> None:
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp == self._stamp:
                return
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            self._stamp, self._digests = None, ()
            return
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._stamp, self._digests = stamp, tuple(hashlib.sha256(key.encode()).digest() for key in keys)


class Gate:
    """Refuses with 401 who has no key, and with 429 and Retry-After what is too much.

    ``shed_above`` is how many requests may be in flight here; None is no limit. The wait that is asked for grows with
    the number of refusals since the last request that was let in, so that clients spread.
    """

    def __init__(self, app: Application, *, keys: Keys, shed_above: int | None) -> None:
        self._app = app
        self._keys = keys
        self._shed_above = shed_above
        self._in_flight = 0
        self._refused = 0

    @property
    def app(self) -> Application:
        """What stands behind."""
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or not."""
        if scope["type"] != "http" or not inner_path(scope).startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        if not self._keys.admit(_header(scope, b"authorization")):
            await _refuse(
                send,
                401,
                "a key is needed: Authorization: Bearer KEY",
                "invalid_api_key",
                (b"www-authenticate", b"Bearer"),
            )
            return
        if self._shed_above is not None and scope["method"] == "POST" and self._in_flight >= self._shed_above:
            self._refused += 1
            wait_s = min(_LONGEST_WAIT_S, 1 + self._refused // max(1, self._shed_above))
            message = f"{self._in_flight} requests are in flight on this replica; try again in {wait_s} s"
            await _refuse(send, 429, message, "rate_limit_exceeded", (b"retry-after", str(wait_s).encode()))
            return
        self._in_flight += 1
        self._refused = 0
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1


def inner_path(scope: Scope) -> str:
    """Return the path below the application's own prefix, which Serve leaves in front."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path") or "").rstrip("/"))


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


async def _refuse(send: Send, status: int, message: str, code: str, *more: tuple[bytes, bytes]) -> None:
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
