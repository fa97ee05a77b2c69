"""Client of ``serving.split``: reads counts, sets the canary's share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from controller.errors import UnavailableError

_TIMEOUT_S = 10.0
_OK = 200


class SplitClient:
    """``url`` is the split application's base address; ``token_file`` holds the token that may set shares.

    The file is read for each change, so that a renewed token counts at once. The session belongs to the caller.
    """

    def __init__(self, *, url: str, session: aiohttp.ClientSession, token_file: Path) -> None:
        self._url = f"{url.rstrip('/')}/-/split"
        self._session = session
        self._token_file = token_file

    async def read(self) -> dict[str, Any]:
        """Return shares and counts. Raises UnavailableError."""
        return await self._call("GET", None, {})

    async def set(self, share: float, *, for_s: float | None, note: str) -> None:
        """Set the canary's share, for so long when ``for_s`` says so. Raises UnavailableError."""
        body = {"share": share, "for_s": for_s, "note": note}
        await self._call("PUT", body, {"Authorization": f"Bearer {self._token()}"})

    def _token(self) -> str:
        try:
            return self._token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            msg = f"token_file {self._token_file}: {error.strerror}; name a file with the split application's token"
            raise UnavailableError(msg) from None

    async def _call(self, method: str, body: dict[str, Any] | None, headers: dict[str, str]) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with self._session.request(method, self._url, json=body, headers=headers, timeout=timeout) as answer:
                text = await answer.text()
                if answer.status == _OK:
                    return dict(json.loads(text))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            msg = f"{self._url} gives no answer ({type(error).__name__}: {error})"
            raise UnavailableError(msg) from None
        msg = f"{self._url} answered HTTP {answer.status}: {' '.join(text.split())[:200]}"
        raise UnavailableError(msg)
