"""Bodies of answers, read no further than they are expected to be long."""

from __future__ import annotations

import aiohttp

_CHUNK_BYTES = 64 * 1024


async def body_within(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | None:
    """Return the whole body, or None when it is longer than ``max_bytes``: what follows is left unread."""
    chunks, received = [], 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        received += len(chunk)
        if received > max_bytes:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
