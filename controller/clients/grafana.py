"""A typed client of the part of Grafana's HTTP API that dashboards need. One request per call, no retries.

The token is sent to the given address only (redirects are not followed) and appears in no message.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from controller.clients.body import body_within
from controller.clients.credentials import checked_address, checked_token
from controller.errors import UnavailableError

TOKEN_SETTING = "FORESERVE_GRAFANA_TOKEN"  # noqa: S105 - the name of a setting
URL_SETTING = "FORESERVE_GRAFANA_URL"

_MAX_REASON_CHARS = 300
_MAX_BYTES = 16_000_000


class GrafanaUnavailableError(UnavailableError):
    """No usable answer: unreachable, too slow, a server error or garbage. Asking again may help."""


class GrafanaRefusedError(UnavailableError):
    """Grafana understood and said no; asking again will not help. ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDashboard:
    """A dashboard as Grafana has it: its JSON, its version, and the uid of its folder (empty: at the top)."""

    board: dict[str, Any]
    version: int
    folder_uid: str


class GrafanaClient:
    """Reads and writes dashboards and folders by uid.

    The session belongs to the caller.

    Raises:
        BadInputError: ``base_url`` is no http(s) address, or ``token`` cannot stand in a header.

    """

    def __init__(
        self, *, base_url: str, session: aiohttp.ClientSession, token: str | None = None, timeout_s: float = 10.0
    ) -> None:
        self._base = checked_address(
            base_url,
            setting=URL_SETTING,
            token_setting=TOKEN_SETTING,
            what="a Grafana",
            example="https://grafana.example.com",
        )
        self._session = session
        self._token = checked_token(token, setting=TOKEN_SETTING)
        self._timeout_s = timeout_s

    @property
    def address(self) -> str:
        """``host:port`` that is asked."""
        return self._base.host_port_subcomponent or ""

    async def folder_title(self, uid: str) -> str | None:
        """Return a folder's title, or None when there is none with this uid. Raises UnavailableError."""
        answer = await self._call("GET", f"api/folders/{quote(uid, safe='')}")
        return None if answer is None else str(answer.get("title", ""))

    async def create_folder(self, uid: str, title: str) -> None:
        """Create a folder. Raises UnavailableError."""
        await self._call("POST", "api/folders", {"uid": uid, "title": title})

    async def dashboard(self, uid: str) -> StoredDashboard | None:
        """Return a dashboard, or None when there is none with this uid. Raises UnavailableError."""
        answer = await self._call("GET", f"api/dashboards/uid/{quote(uid, safe='')}")
        if answer is None:
            return None
        board, meta = answer.get("dashboard"), answer.get("meta", {})
        if not isinstance(board, dict) or not isinstance(meta, dict):
            msg = f"Grafana at {self.address} did not answer with a dashboard"
            raise GrafanaUnavailableError(msg)
        return StoredDashboard(
            board=board, version=int(board.get("version") or 0), folder_uid=str(meta.get("folderUid") or "")
        )

    async def save(self, board: dict[str, Any], *, folder_uid: str, version: int | None, message: str) -> None:
        """Create a dashboard, or replace the version that was read; one changed since then is refused (412).

        Raises UnavailableError.
        """
        content = {
            "dashboard": {**board, "id": None, "version": version or 0},
            "folderUid": folder_uid,
            "message": message,
            "overwrite": False,
        }
        await self._call("POST", "api/dashboards/db", content)

    async def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> dict[str, Any] | None:
        headers = {"Accept": "application/json", "User-Agent": "foreserve"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        url = URL(f"{str(self._base).rstrip('/')}/{path}", encoded=True)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(method, url, headers=headers, json=content, allow_redirects=False) as response,
            ):
                body = await self._read(response)
        except TimeoutError:
            msg = f"Grafana at {self.address} gave no answer within {self._timeout_s:g} s"
            raise GrafanaUnavailableError(msg) from None
        except (aiohttp.ClientError, OSError) as error:
            msg = f"Grafana at {self.address} cannot be reached ({self._clean(str(error)) or type(error).__name__})"
            raise GrafanaUnavailableError(msg) from None
        return self._answer(method, response.status, body)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = await body_within(response, _MAX_BYTES)
        if body is None:
            msg = f"Grafana at {self.address} answered with more than {_MAX_BYTES} bytes"
            raise GrafanaUnavailableError(msg)
        return body

    def _answer(self, method: str, status: int, body: bytes) -> dict[str, Any] | None:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            msg = f"Grafana at {self.address} gave no JSON (HTTP {status}); {URL_SETTING} should be a Grafana's address"
            raise GrafanaUnavailableError(msg)
        if status == HTTPStatus.OK:
            return answer
        if status == HTTPStatus.NOT_FOUND and method == "GET":
            return None
        raise self._failure(status, self._clean(str(answer.get("message", ""))))

    def _failure(self, status: int, said: str) -> UnavailableError:
        reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return GrafanaUnavailableError(f"Grafana at {self.address} failed ({reason})")
        hints: dict[int, str] = {
            HTTPStatus.UNAUTHORIZED: f"; set {TOKEN_SETTING} (or {TOKEN_SETTING}_FILE) to a service account's token",
            HTTPStatus.FORBIDDEN: "; the service account needs the role Editor",
            HTTPStatus.PRECONDITION_FAILED: "; it was changed meanwhile, so look at it and push again",
        }
        hint = hints.get(status, "")
        return GrafanaRefusedError(f"Grafana at {self.address} refused ({reason}){hint}", status=status)

    def _clean(self, text: str) -> str:
        if self._token:
            text = text.replace(self._token, "***")
        return " ".join(text.split())[:_MAX_REASON_CHARS]
