"""Client of ``serving.split``: reads counts, sets the canary's share."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from controller.errors import UnavailableError

_TIMEOUT_S = 10.0
_OK = 200


class SplitClient:
    """``url`` is the split application's base address; ``token`` may set shares. The session belongs to the caller."""

    def __init__(self, *, url: str, session: aiohttp.ClientSession, token: str | None) -> None:
        self._url = f"{url.rstrip('/')}/-/split"
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def read(self) -> dict[str, Any]:
        """Return shares and counts. Raises UnavailableError."""
        return await self._call("GET", None)

    async def set(self, share: float) -> None:
        """Set the canary's share. Raises UnavailableError."""
        await self._call("PUT", {"share": share})

    async def _call(self, method: str, body: dict[str, Any] | None) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with self._session.request(
                method, self._url, json=body, headers=self._headers, timeout=timeout
            ) as answer:
                text = await answer.text()
                if answer.status == _OK:
                    return dict(json.loads(text))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            msg = f"{self._url} gives no answer ({type(error).__name__}: {error})"
            raise UnavailableError(msg) from None
        msg = f"{self._url} answered HTTP {answer.status}: {' '.join(text.split())[:200]}"
        raise UnavailableError(msg)
