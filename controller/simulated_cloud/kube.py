"""A bare client of the API server for the simulated parts of a cloud, each under its own name.

The name is the user agent, which the API server writes into ``managedFields``: so who wrote which field can be
asserted. It shares no code with the controller's own client but how a kubeconfig is found and read.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from controller.clients.kubernetes_config import connection
from controller.errors import ForeserveError

Json = dict[str, Any]

_TYPES = {"merge": "application/merge-patch+json", "json": "application/json-patch+json"}
_BEARER = "BearerToken"


class ApiError(ForeserveError):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Server:
    """Where the API server is, and who comes: an administrator, by token or by client certificate."""

    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext

    @classmethod
    async def of_kubeconfig(cls, context: str | None = None) -> Server:
        """Read the kubeconfig in use. Raises BadInputError when there is none, or it cannot be used."""
        configuration = await connection(context).load()
        tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
        if configuration.cert_file:
            tls.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
        if not configuration.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        setting: Any = (await configuration.auth_settings()).get(_BEARER)
        headers = {} if setting is None else {"Authorization": str(setting["value"])}
        return cls(configuration.host, headers, tls)


@dataclass
class Kube:
    """The API server as one part of the cloud sees it."""

    server: Server
    session: aiohttp.ClientSession
    who: str

    def named(self, who: str) -> Kube:
        """Return the same connection for another part."""
        return Kube(self.server, self.session, who)

    async def call(self, method: str, path: str, body: Any = None, *, kind: str = "", **query: str) -> Json:
        """Send one request. Raises ApiError, aiohttp.ClientError."""
        headers = {**self.server.headers, "User-Agent": f"{self.who}/1.0"}
        if kind:
            headers["Content-Type"] = _TYPES[kind]
        async with self.session.request(
            method, self.server.url + path, json=body, headers=headers, params=query, ssl=self.server.tls
        ) as response:
            if response.content_type != "application/json":
                # What the server answers for a definition that it has just been given and does not serve yet.
                raise ApiError(response.status, (await response.text())[:200])
            answer: Json = await response.json()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(response.status, str(answer.get("message")))
            return answer

    async def get(self, path: str) -> Json:
        """Read one object. Raises like ``call``."""
        return await self.call("GET", path)

    async def find(self, path: str) -> Json | None:
        """Read one object; None when there is none. Raises like ``call``."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def create(self, path: str, body: Json) -> Json:
        """Create an object. Raises like ``call``."""
        return await self.call("POST", path, body)

    async def merge(self, path: str, body: Json) -> Json:
        """Patch an object by merging. Raises like ``call``."""
        return await self.call("PATCH", path, body, kind="merge")

    async def patch(self, path: str, body: list[Json]) -> Json:
        """Patch an object by JSON patch. Raises like ``call``."""
        return await self.call("PATCH", path, body, kind="json")

    async def delete(self, path: str, *, grace_s: int | None = None) -> None:
        """Delete an object; one that is gone is fine. Raises like ``call``."""
        body = None if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            await self.call("DELETE", path, body)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    async def list(self, path: str, **query: str) -> list[Json]:
        """Read the objects of a collection. Raises like ``call``."""
        found: list[Json] = (await self.call("GET", path, **query))["items"]
        return found


def rfc3339(at: float) -> str:
    """Unix seconds as the API server writes times, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def unix(text: str) -> float:
    """Read such a time back."""
    return datetime.fromisoformat(text).timestamp()
