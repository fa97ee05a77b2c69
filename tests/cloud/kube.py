"""A bare client of the API server for the simulated parts of a cloud, each under its own name.

The name is the user agent, which the API server writes into ``managedFields``: so who wrote which field can be
asserted. It shares no code with the controller's own client.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

Json = dict[str, Any]

_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


class ApiError(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Server:
    """Where the API server is, and an administrator's token."""

    url: str
    token: str

    @classmethod
    def of_kubeconfig(cls) -> Server:
        config = YAML(typ="safe").load(Path(os.environ["KUBECONFIG"]))
        cluster = config["clusters"][0]["cluster"]["server"]
        return cls(cluster, config["users"][0]["user"]["token"])


@dataclass
class Kube:
    """The API server as one part of the cloud sees it."""

    server: Server
    session: aiohttp.ClientSession
    who: str

    def named(self, who: str) -> Kube:
        return Kube(self.server, self.session, who)

    async def call(self, method: str, path: str, body: Any = None, *, kind: str = "", **query: str) -> Json:
        headers = {"Authorization": f"Bearer {self.server.token}", "User-Agent": f"{self.who}/1.0"}
        if kind:
            headers["Content-Type"] = _TYPES[kind]
        async with self.session.request(
            method, self.server.url + path, json=body, headers=headers, params=query, ssl=False
        ) as response:
            answer: Json = await response.json()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(response.status, str(answer.get("message")))
            return answer

    async def get(self, path: str) -> Json:
        return await self.call("GET", path)

    async def list(self, path: str, **query: str) -> list[Json]:
        found: list[Json] = (await self.call("GET", path, **query))["items"]
        return found

    async def create(self, path: str, body: Json) -> Json:
        return await self.call("POST", path, body)

    async def merge(self, path: str, body: Json) -> Json:
        return await self.call("PATCH", path, body, kind="merge")

    async def patch(self, path: str, body: list[Json]) -> Json:
        return await self.call("PATCH", path, body, kind="json")

    async def delete(self, path: str, *, grace_s: int | None = None) -> None:
        body = None if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            await self.call("DELETE", path, body)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise


def rfc3339(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def managers(thing: Json) -> dict[str, list[Json]]:
    """Return the fields of an object by who wrote them last."""
    written: dict[str, list[Json]] = {}
    for entry in thing["metadata"].get("managedFields", ()):
        written.setdefault(entry["manager"], []).append(entry.get("fieldsV1", {}))
    return written


def owns(thing: Json, who: str) -> set[str]:
    """Return the paths of the fields that ``who`` wrote last, as ``spec.replicas``."""
    return {path for fields in managers(thing).get(who, ()) for path in _paths(fields, "")}


def _paths(fields: Json, prefix: str) -> set[str]:
    found = set()
    for key, below in fields.items():
        if key == ".":
            continue
        name = re.sub(r"^[fkv]:", "", key)
        path = f"{prefix}.{name}" if prefix else name
        found |= _paths(below, path) if below else {path}
    return found
