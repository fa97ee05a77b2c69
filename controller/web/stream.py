"""A response that goes on until its reader leaves, or no longer reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

_READS_WITHIN_S = 20.0


class EventStream(Response):
    """Sends text as it comes. A reader that takes nothing for 20 s is let go, so that it keeps no place."""

    media_type = "text/event-stream"

    def __init__(self, chunks: AsyncGenerator[str, None]) -> None:
        super().__init__()
        self._chunks = chunks
        # Proxies such as nginx hold back what they take for a file.
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        self.raw_headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the chunks end or the reader is gone."""
        del scope
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._chunks.aclose()  # gives the place back now

    async def _send(self, send: Send) -> None:
        start: Message = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        async for chunk in self._chunks:
            async with asyncio.timeout(_READS_WITHIN_S):
                await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
