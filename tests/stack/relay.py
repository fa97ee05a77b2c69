"""A TCP relay that can be paused, held up or made to refuse: so looks what is behind it to whoever asks through it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Relay:
    """Relays connections on ``url`` to ``port`` of this machine, in a thread of its own: one request each."""

    def __init__(self) -> None:
        self.port = 0
        self._paused = False
        self._status: int | None = None
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Close every connection at once for as long as the body runs."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Pass requests on only when the body is over."""
        self._loop.call_soon_threadsafe(self._passing.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._passing.set)

    @contextmanager
    def answering(self, status: int) -> Iterator[None]:
        """Answer every request with ``status`` instead of passing it on."""
        self._status = status
        try:
            yield
        finally:
            self._status = None

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._server.close()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if self._paused:
                return
            if self._status is not None:
                writer.write(f"HTTP/1.1 {self._status} No\r\nContent-Length: 7\r\nConnection: close\r\n\r\n".encode())
                writer.write(b"not now")
                await writer.drain()
                return
            await self._passing.wait()
            back, forth = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(forth):
                forth.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
                while data := await back.read(65_536):
                    writer.write(data)
                    await writer.drain()
