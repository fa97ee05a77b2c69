"""A TCP relay that can be paused: what is behind it then looks dead to whoever asks through it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Relay:
    """Relays connections on ``url`` to ``port`` of this machine, in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._paused = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Close every connection at once for as long as the body runs."""
        self._paused.set()
        try:
            yield
        finally:
            self._paused.clear()

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._server.close()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            request = await reader.readuntil(b"\r\n\r\n")
            if self._paused.is_set():
                return
            back, forth = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(forth):
                forth.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                while data := await back.read(65_536):
                    writer.write(data)
                    await writer.drain()
