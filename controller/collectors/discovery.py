"""Where Ray's metrics agents are: one base URL ("http://10.0.0.3:8080") for each node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from controller.clients.serve import ServeClient
from controller.collectors.pages import FetchError, check_url, fetch
from controller.errors import BadInputError, UnavailableError

SKIPPED_PORTS = frozenset({44217, 44227})
"""Ray lists its autoscaler and its dashboard among the node agents; neither has a catalogued metric, and
one of them failing must not look like a node that cannot be seen."""

_MAX_BYTES = 4_000_000
_AUTH_STATUSES = {401, 403}


class Discovery(Protocol):
    """Finds the endpoints of a collector."""

    async def targets(self) -> Sequence[str]:
        """Return the base URLs known now. Raises UnavailableError."""
        ...


class StaticDiscovery:
    """A fixed list."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Raise BadInputError for a URL that cannot be fetched."""
        self._urls = tuple(check_url(url) for url in urls)

    async def targets(self) -> Sequence[str]:
        """Return the list."""
        return self._urls


class SdFileDiscovery:
    """Ray's Prometheus service-discovery file, which Ray rewrites every few seconds."""

    def __init__(self, path: Path, *, skipped_ports: frozenset[int] = SKIPPED_PORTS) -> None:
        self._path = path
        self._skipped_ports = skipped_ports

    async def targets(self) -> Sequence[str]:
        """Read the file again."""
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except OSError as error:
            msg = f"{self._path}: {error.strerror}; Ray writes this file while it runs"
            raise UnavailableError(msg) from error
        return _parse(content, where=str(self._path), skipped_ports=self._skipped_ports)


class DashboardDiscovery:
    """Ray's dashboard, ``GET /api/prometheus/sd``. ``timeout_s`` bounds the whole request."""

    def __init__(
        self,
        base_url: str,
        session: aiohttp.ClientSession,
        token: str | None = None,
        *,
        timeout_s: float = 3.0,
        skipped_ports: frozenset[int] = SKIPPED_PORTS,
    ) -> None:
        self._url = check_url(base_url).rstrip("/") + "/api/prometheus/sd"
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s
        self._skipped_ports = skipped_ports

    async def targets(self) -> Sequence[str]:
        """Ask the dashboard."""
        try:
            content = await fetch(
                self._session, self._url, timeout_s=self._timeout_s, max_bytes=_MAX_BYTES, headers=self._headers
            )
        except FetchError as error:
            hint = "; check the Ray token" if error.status in _AUTH_STATUSES else ""
            msg = f"{self._url}: {error}{hint}"
            raise UnavailableError(msg) from error
        return _parse(content, where=self._url, skipped_ports=self._skipped_ports)


class ServeProxyDiscovery:
    """HAProxy on every node that Serve says has a proxy, at one port: for clusters whose nodes come and go."""

    def __init__(self, client: ServeClient, *, port: int) -> None:
        self._client = client
        self._port = port

    async def targets(self) -> Sequence[str]:
        """Ask Serve."""
        addresses = (await self._client.applications()).proxies
        return tuple(
            f"http://[{one}]:{self._port}" if ":" in one else f"http://{one}:{self._port}" for one in addresses
        )


def _parse(content: bytes, *, where: str, skipped_ports: frozenset[int]) -> tuple[str, ...]:
    """Read Prometheus' service-discovery JSON. Raises UnavailableError when it is not that, or lists no node."""
    try:
        groups = json.loads(content)
        addresses = [address for group in groups for address in group["targets"]]
        urls = [check_url("http://" + address) for address in addresses]
    except (ValueError, TypeError, KeyError, BadInputError) as error:
        msg = f'{where}: not a service-discovery list like [{{"targets": ["10.0.0.3:8080"]}}] ({error})'
        raise UnavailableError(msg) from error
    nodes = tuple(url for url in dict.fromkeys(urls) if urlsplit(url).port not in skipped_ports)
    if not nodes:
        msg = f"{where}: lists no Ray node"
        raise UnavailableError(msg)
    return nodes
