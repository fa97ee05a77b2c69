"""Asking a Prometheus-compatible query API, bounded in time and size; nothing is retried here."""

from __future__ import annotations

import asyncio

import aiohttp

from controller.collectors.pages import FetchError, check_url, endpoint, fetch
from controller.collectors.query_answer import error_text
from controller.errors import UnavailableError

_AUTH_STATUSES = {401, 403}


class PrometheusApi:
    """One server. ``timeout_s`` bounds a request, ``max_bytes`` its answer; the session belongs to the caller.

    A request is not sent while ``behind``, which asks the same server for what is more urgent, waits for an answer.

    Raises:
        BadInputError: a URL that cannot be fetched.

    """

    def __init__(
        self,
        *,
        base_url: str,
        session: aiohttp.ClientSession,
        token: str | None = None,
        timeout_s: float = 5.0,
        max_bytes: int = 128_000_000,
        behind: PrometheusApi | None = None,
    ) -> None:
        self.url = check_url(base_url).rstrip("/") + "/api/v1/query"
        self.address = endpoint(base_url)
        self._session = session
        self._headers = {"Accept-Encoding": "gzip"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._behind = behind
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def ask(self, query: str) -> bytes:
        """Return the answer to an instant query as of now. Raises UnavailableError."""
        return await self._send(self.url, {"query": query})

    async def ask_range(self, query: str, *, start: float, end: float, step_s: float) -> bytes:
        """Return the answer to a range query from ``start`` to ``end`` (Unix seconds). Raises UnavailableError."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        return await self._send(f"{self.url}_range", {"query": query, **times})

    async def _send(self, url: str, form: dict[str, str]) -> bytes:
        if self._behind is not None:
            await self._behind._idle.wait()  # noqa: SLF001 - another one of these
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._fetched(url, form)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _fetched(self, url: str, form: dict[str, str]) -> bytes:
        try:
            return await fetch(
                self._session,
                url,
                timeout_s=self._timeout_s,
                max_bytes=self._max_bytes,
                headers=self._headers,
                form=form | {"timeout": f"{self._timeout_s:g}s"},
            )
        except FetchError as error:
            said = error_text(error.body)
            hint = "; check the token" if error.status in _AUTH_STATUSES else ""
            msg = f"{url}: " + (f"HTTP {error.status}: {said}" if said else str(error)) + hint
            raise UnavailableError(msg) from error
