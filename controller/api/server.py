"""Runs the API inside the controller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from controller.errors import BadInputError

_BACKLOG = 128
_MOST_CONNECTIONS = 64
_HEAD_WITHIN_S = 10.0


def listen(host: str, port: int) -> socket.socket:
    """Take the port now, so that a taken one is found before anything else is done.

    Raises:
        BadInputError: the port is taken, may not be used, or the address is not this machine's.

    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        msg = f"port {port} on {host} {reason}; give another one with --port or FORESERVE_PORT"
        raise BadInputError(msg) from error


class ApiServer:
    """One uvicorn server on a socket that listens already. Signals stay with the controller."""

    def __init__(self, app: FastAPI, listening: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            http=_Protocol,
            ws="none",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16_384,
        )
        self._server = _Server(config)
        self._listening = listening

    @property
    def address(self) -> str:
        """``http://host:port`` that is served."""
        host, port = self._listening.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def serve(self) -> None:
        """Serve until ``stop`` is called."""
        await self._server.serve(sockets=[self._listening])

    def stop(self) -> None:
        """Ask the server to end; running requests have a second."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class _Protocol(H11Protocol):
    """Ends a connection whose next request's head does not come in time; uvicorn itself would wait for ever."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        idle_before = self._idle
        super().data_received(data)
        if not self._idle:
            self._forget()
        elif not idle_before or self._late is None:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    @property
    def _idle(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or bool(cycle.response_complete)

    def _expect_head(self) -> None:
        self._forget()
        self._late = self.loop.call_later(_HEAD_WITHIN_S, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
