"""A client of a running controller's own API, for commands. One request per call, no retries."""

from __future__ import annotations

import asyncio
import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from controller.clients.credentials import checked_address, checked_token
from controller.errors import BadInputError, ForeserveError, UnavailableError

URL_SETTING = "FORESERVE_API_URL"
TOKEN_SETTING = "FORESERVE_API_TOKEN"  # noqa: S105 - the name of a setting
DEFAULT_URL = "http://127.0.0.1:9900"

_MOST_BYTES = 16_000_000
_TIMEOUT_S = 10.0


class RefusedError(ForeserveError):
    """The controller understood and said no; ``str()`` is its sentence."""


def api_token(file: Path | None) -> str | None:
    """Token of the API: from a file, else from the environment. Raises BadInputError for a file that is no token."""
    if file is None:
        return checked_token(os.environ.get(TOKEN_SETTING), setting=TOKEN_SETTING)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        msg = f"{file}: cannot be read as a token ({reason}); --token-file names a file with one token in it"
        raise BadInputError(msg) from None
    token = checked_token(text, setting=str(file))
    if token is None:
        msg = f"{file}: is empty; --token-file names a file with one token in it"
        raise BadInputError(msg)
    return token


class ControllerApi:
    """Asks one controller. The session belongs to the caller; the token goes to that address only."""

    def __init__(self, *, base_url: str, session: aiohttp.ClientSession, token: str | None) -> None:
        """Raises BadInputError: ``base_url`` is no http(s) address."""
        self._base = checked_address(
            base_url, setting=URL_SETTING, token_setting=TOKEN_SETTING, what="a controller", example=DEFAULT_URL
        )
        self._session = session
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def overrides(self) -> list[dict[str, Any]]:
        """Return those in force. Raises ForeserveError."""
        return list(await self._call("GET", "overrides"))

    async def begin_override(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Begin one. Raises ForeserveError."""
        return dict(await self._call("POST", "overrides", asked))

    async def end_override(self, name: str) -> dict[str, Any]:
        """End one. Raises ForeserveError."""
        return dict(await self._call("DELETE", f"overrides/{quote(name, safe='')}"))

    async def proposals(self) -> list[dict[str, Any]]:
        """Return what waits and what came of earlier ones, newest first. Raises ForeserveError."""
        return list(await self._call("GET", "approvals"))

    async def proposal(self, name: str) -> dict[str, Any]:
        """Return one. Raises ForeserveError."""
        return dict(await self._call("GET", f"approvals/{quote(name, safe='')}"))

    async def answer(self, name: str, verdict: str, note: str) -> dict[str, Any]:
        """Say ``approve`` or ``reject``. Raises ForeserveError; RefusedError when it no longer waits."""
        return dict(await self._call("POST", f"approvals/{quote(name, safe='')}/{verdict}", {"note": note}))

    async def _call(self, method: str, path: str, content: Any = None) -> Any:
        url = URL(f"{str(self._base).rstrip('/')}/api/v1/{path}", encoded=True)
        where = self._base.host_port_subcomponent
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                self._session.request(
                    method, url, headers=self._headers, json=content, allow_redirects=False
                ) as response,
            ):
                body = await response.content.read(_MOST_BYTES)
        except TimeoutError:
            msg = f"the controller at {where} gave no answer within {_TIMEOUT_S:g} s"
            raise UnavailableError(msg) from None
        except (aiohttp.ClientError, OSError) as error:
            number = getattr(getattr(error, "os_error", error), "errno", None)
            reason = os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
            msg = f"the controller at {where} cannot be reached ({reason}); name it with --url or {URL_SETTING}"
            raise UnavailableError(msg) from None
        return _read(response.status, body, str(where))


def _read(status: int, body: bytes, where: str) -> Any:
    try:
        answer = json.loads(body)
    except ValueError:
        msg = f"{where} gave no JSON (HTTP {status}); --url should be the address of a controller"
        raise UnavailableError(msg) from None
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return answer
    said = str(answer.get("detail", f"HTTP {status}")) if isinstance(answer, dict) else f"HTTP {status}"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        msg = f"{said} (name a file with your token with --token-file, or set {TOKEN_SETTING})"
        raise UnavailableError(msg)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UnavailableError(said)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise BadInputError(said)
    raise RefusedError(said)
