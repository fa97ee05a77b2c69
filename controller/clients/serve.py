"""A typed client of Ray Serve's REST API (the Ray dashboard, port 8265). One request per call, no retries.

The token is sent to the given address only (redirects are not followed) and appears in no message.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from controller.clients.body import body_within
from controller.clients.credentials import checked_address, checked_token
from controller.clients.serve_answer import read_applications
from controller.domain.identity import DeploymentId
from controller.domain.serve import ServeState
from controller.errors import UnavailableError

TOKEN_SETTING = "FORESERVE_SERVE_TOKEN"  # noqa: S105 - the name of a setting
URL_SETTING = "FORESERVE_SERVE_URL"
MAX_REASON_CHARS = 300

_RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


class ServeUnavailableError(UnavailableError):
    """No usable answer: unreachable, too slow, a server error or garbage. Asking again may help."""


class ServeRefusedError(UnavailableError):
    """Serve understood and said no; asking again will not help. ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServeClient:
    """Reads and scales applications.

    ``timeout_s`` bounds each call from connecting to the last byte, ``max_bytes`` its body. The session
    belongs to the caller.

    Raises:
        BadInputError: ``base_url`` is no http(s) address, or ``token`` cannot stand in a header.

    """

    def __init__(
        self,
        *,
        base_url: str,
        session: aiohttp.ClientSession,
        token: str | None = None,
        timeout_s: float = 5.0,
        max_bytes: int = 16_000_000,
    ) -> None:
        self._base = checked_address(
            base_url,
            setting=URL_SETTING,
            token_setting=TOKEN_SETTING,
            what="a dashboard",
            example="http://127.0.0.1:8265",
        )
        self._session = session
        self._token = checked_token(token, setting=TOKEN_SETTING)
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def __repr__(self) -> str:
        return f"ServeClient({self.address})"

    @property
    def address(self) -> str:
        """``host:port`` that is asked."""
        return self._base.host_port_subcomponent or ""

    @property
    def token_in_clear(self) -> bool:
        """Whether a token is sent unencrypted to another machine."""
        return self._token is not None and self._base.scheme == "http" and not is_loopback(self._base.host or "")

    async def applications(self) -> ServeState:
        """Read all applications with their deployments and replicas.

        Raises:
            ServeUnavailableError: there was no usable answer.
            ServeRefusedError: Serve refused, for one the token.

        """
        body = await self._call("GET", "api/serve/applications/")
        try:
            return read_applications(body)
        except ValueError as error:
            msg = f"{self.address} did not answer with Serve's list of applications ({_shorten(str(error))})"
            raise ServeUnavailableError(msg) from None

    async def scale(self, deployment: DeploymentId, replicas: int) -> None:
        """Set a deployment's target. Serve checks no bounds and answers before anything has happened.

        Raises:
            ServeUnavailableError: there was no usable answer; the target may have been set all the same.
            ServeRefusedError: Serve refused: the token, an unknown deployment, external scaling not enabled.

        """
        application, name = quote(deployment.application, safe=""), quote(deployment.deployment, safe="")
        await self._call(
            "POST", f"api/v1/applications/{application}/deployments/{name}/scale", {"target_num_replicas": replicas}
        )

    async def _call(self, method: str, path: str, content: dict[str, Any] | None = None) -> bytes:
        headers = {"Accept": "application/json", "User-Agent": "foreserve"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        url = URL(f"{str(self._base).rstrip('/')}/{path}", encoded=True)
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._session.request(
                    method,
                    url,
                    headers=headers,
                    json=content,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as response,
            ):
                body = await self._read(response)
        except TimeoutError:
            msg = f"Serve at {self.address} gave no complete answer within {self._timeout_s:g} s"
            raise ServeUnavailableError(msg) from None
        except (aiohttp.ClientError, OSError) as error:
            msg = f"Serve at {self.address} cannot be reached ({self._clean(str(error)) or type(error).__name__})"
            raise ServeUnavailableError(msg) from None
        if response.status != HTTPStatus.OK:
            raise self._failure(response.status, body)
        return body

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = await body_within(response, self._max_bytes)
        if body is None:
            msg = f"Serve at {self.address} answered with more than {self._max_bytes} bytes"
            raise ServeUnavailableError(msg)
        return body

    def _failure(self, status: int, body: bytes) -> UnavailableError:
        reason = f"HTTP {status}"
        if text := self._clean(_error_text(body)):
            reason += f": {text}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE:
            return ServeUnavailableError(f"Serve at {self.address} failed ({reason})")
        where = f"{TOKEN_SETTING} (or {TOKEN_SETTING}_FILE)"
        if status == HTTPStatus.UNAUTHORIZED:
            msg = f"Serve at {self.address} wants a token ({reason}); set {where} to its Ray token"
            return ServeRefusedError(msg, status=status)
        if status == HTTPStatus.FORBIDDEN:
            msg = f"Serve at {self.address} refused the token ({reason}); correct {where}"
            return ServeRefusedError(msg, status=status)
        hint = ""
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST or not _is_json(body):
            hint = f"; {URL_SETTING} should be the address of a Ray dashboard with the Serve REST API"
        return ServeRefusedError(f"Serve at {self.address} refused ({reason}){hint}", status=status)

    def _clean(self, text: str) -> str:
        if self._token:
            text = text.replace(self._token, "***")
        return _shorten(text)


def is_loopback(host: str) -> bool:
    """Whether ``host`` names this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _error_text(body: bytes) -> str:
    """Return Serve's own words: the ``error`` of a JSON answer, or the text as it is."""
    text = body.decode(errors="replace")
    try:
        answer = json.loads(text)
    except ValueError:
        return text
    return str(answer["error"]) if isinstance(answer, dict) and "error" in answer else text


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 1] + "…"
