"""Talks to a Kubernetes API server: plain objects in and out, bounded time and size, retries with jitter.

The official client finds the server and the credentials and speaks HTTP; its models are left out, because reading
thousands of pods into them costs more than everything else that is done with these.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from controller.clients.kubernetes_config import Connection
from controller.errors import UnavailableError
from controller.ports import Clock

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

FIELD_MANAGER = "foreserve"
"""Under this name the API server notes which fields we wrote (``metadata.managedFields``)."""

Json = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_PAGE = 500
_MAX_BYTES = 64_000_000
_MAX_REASON_CHARS = 400
_TRANSIENT = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class KubernetesUnavailableError(UnavailableError):
    """No usable answer: unreachable, too slow, overloaded or garbage. Asking again may help.

    ``after_s`` is how long the server asks us to wait, where it does.
    """

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class KubernetesRefusedError(UnavailableError):
    """The server understood and said no. ``status`` is the HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a call may take, in seconds: ``deadline_s`` with all its attempts, ``attempt_s`` for one of them.

    Waits are drawn from [0, backoff_s], then [0, 2 * backoff_s] and so on, unless the server asks for a longer one.
    """

    attempts: int = 4
    deadline_s: float = 8.0
    attempt_s: float = 4.0
    backoff_s: float = 0.2


@dataclass(frozen=True, slots=True)
class Listing:
    """Items of a list, and whether there were more than asked for."""

    items: tuple[Json, ...]
    cut: bool = False


class KubernetesClient:
    """One connection. Calls may overlap; each takes ``timing.deadline_s`` at most (a list: each of its pages)."""

    def __init__(
        self, connection: Connection, *, clock: Clock, rng: random.Random, timing: Timing | None = None
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._rng = rng
        self._timing = timing or Timing()
        self._api: ApiClient | None = None
        self._opening = asyncio.Lock()

    @property
    def namespace(self) -> str:
        """The pod's own namespace, or the context's."""
        return self._connection.namespace

    async def close(self) -> None:
        """Release connections."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()  # type: ignore[no-untyped-call]

    async def get(self, path: str) -> Json:
        """Read one object. Raises UnavailableError (also with status 404)."""
        return await self._call("GET", path)

    async def find(self, path: str) -> Json | None:
        """Read one object, or None when there is none of this name, or no such kind. Raises UnavailableError."""
        try:
            return await self._call("GET", path)
        except KubernetesRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def list(
        self, path: str, *, labels: str = "", fields: str = "", most: int = 20_000, cached: bool = False
    ) -> Listing:
        """Read a list page by page, ``most`` items of it, by label and field selectors.

        ``cached`` takes what the API server has in memory, which may be a moment old: there pods are indexed by node.
        A list that changes too fast for its pages is begun again, once. Raises UnavailableError.
        """
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {key: value for key, value in selectors.items() if value}
        if cached:
            query["resourceVersion"] = "0"
        try:
            return await self._pages(path, most, query)
        except KubernetesRefusedError as error:
            if error.status != HTTPStatus.GONE:
                raise
            return await self._pages(path, most, query)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in a collection. Raises UnavailableError (409: it exists)."""
        return await self._call("POST", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, path: str, body: Json) -> Json:
        """Write an object over the version that was read (409: it changed since). Raises UnavailableError."""
        return await self._call("PUT", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> Json:
        """Apply a JSON patch: all operations, or none (422: a ``test`` failed). Raises UnavailableError."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", path, body=list(operations), query=query, kind=JSON_PATCH)

    async def apply(self, path: str, body: Json, *, force: bool) -> Json:
        """Server-side apply: create the object or own just the fields given.

        ``force`` takes fields that somebody else owns (else 409), as is right for objects that are ours altogether.
        Raises UnavailableError.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._call("PATCH", path, body=body, query=query, kind=APPLY_PATCH)

    async def delete(self, path: str, *, uid: str) -> None:
        """Delete the object with this uid; one that is gone is fine. Raises UnavailableError (409: another uid)."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", path, body=body)
        except KubernetesRefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    async def _pages(self, path: str, most: int, query: Mapping[str, str]) -> Listing:
        items: list[Json] = []
        token = ""
        while True:
            # What follows a page is of that page's version, and no other may be named with it.
            page = {"limit": str(min(_PAGE, most)), **query} | ({"continue": token} if token else {})
            answer = await self._call("GET", path, query=page)
            items += answer.get("items") or ()
            token = (answer.get("metadata") or {}).get("continue") or ""
            query = {key: value for key, value in query.items() if key != "resourceVersion"}
            if not token:
                return Listing(tuple(items))
            if len(items) >= most:
                return Listing(tuple(items[:most]), cut=True)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        kind: str = "application/json",
    ) -> Json:
        request = _Request(method, path, query or {}, body, kind)
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(KubernetesUnavailableError),
            stop=stop_after_attempt(self._timing.attempts),
            wait=self._wait_s,
            sleep=self._clock.sleep,
            reraise=True,
        )
        last: list[str] = []
        _api_client()  # importing it takes a second or more, which is not the server's
        try:
            async with asyncio.timeout(self._timing.deadline_s):
                async for attempt in attempts:
                    with attempt:
                        try:
                            return await self._attempt(request)
                        except KubernetesUnavailableError as error:
                            last[:] = [str(error)]
                            raise
        except TimeoutError:
            reason = f"; last: {last[0]}" if last else ""
            msg = f"Kubernetes: {request}: no answer within {self._timing.deadline_s:g} s{reason}"
            raise KubernetesUnavailableError(msg) from None
        raise AssertionError(request)  # pragma: no cover - the loop returns or raises

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after_s if isinstance(error, KubernetesUnavailableError) else None
        return (asked or 0.0) + self._rng.uniform(0.0, self._timing.backoff_s * 2 ** (state.attempt_number - 1))

    async def _attempt(self, request: _Request) -> Json:
        api = await self._open()
        answer = await self._send(api, request)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            # A token may have run out; what wrote the kubeconfig, or its plugin, has a new one.
            await self._reopen(api)
            answer = await self._send(await self._open(), request)
        return _read(request, answer)

    async def _send(self, api: ApiClient, request: _Request) -> _Answer:
        try:
            _, url, headers, payload, _ = await api.param_serialize(
                method=request.method,
                resource_path=request.path,
                query_params=list(request.query.items()),
                header_params={"Accept": "application/json", "Content-Type": request.kind},
                body=request.body,
                auth_settings=["BearerToken"],
            )
            async with asyncio.timeout(self._timing.attempt_s):
                response = (await api.call_api(request.method, url, headers, payload)).response
                try:
                    content = await _bounded(response)
                finally:
                    response.release()
        except TimeoutError:
            msg = f"Kubernetes: {request}: no answer within {self._timing.attempt_s:g} s"
            raise KubernetesUnavailableError(msg) from None
        except (aiohttp.ClientError, OSError) as error:
            host = urlsplit(api.configuration.host).netloc
            msg = f"Kubernetes at {host} cannot be reached: {_one_line(error)}"
            raise KubernetesUnavailableError(msg) from None
        return _Answer(response.status, content, response.headers.get("Retry-After"))

    async def _open(self) -> ApiClient:
        async with self._opening:
            if self._api is None:
                configuration = await self._connection.load()
                configuration.retries = None  # decided here, not twice
                self._api = _api_client()(configuration)
                self._api.user_agent = FIELD_MANAGER
            return self._api

    async def _reopen(self, stale: ApiClient) -> None:
        async with self._opening:
            if self._api is stale:
                self._api = None
                await stale.close()  # type: ignore[no-untyped-call]


def _api_client() -> type[ApiClient]:
    from kubernetes.aio.client import ApiClient  # noqa: PLC0415 - 30 MB that only those with a cluster carry

    return ApiClient


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    kind: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content: bytes
    retry_after: str | None


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > _MAX_BYTES:
            response.close()
            msg = f"Kubernetes: the answer is larger than {_MAX_BYTES} bytes"
            raise KubernetesRefusedError(msg, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        parts.append(part)
    return b"".join(parts)


def _read(what: _Request, answer: _Answer) -> Json:
    try:
        document = json.loads(answer.content) if answer.content else {}
    except ValueError:
        document = None
    if answer.status >= HTTPStatus.BAD_REQUEST:
        _refuse(what, answer, document)
    if not isinstance(document, dict):
        msg = f"Kubernetes: {what}: the answer is no JSON object"
        raise KubernetesUnavailableError(msg)
    return document


def _refuse(what: _Request, answer: _Answer, document: Any) -> None:
    reason = document.get("message") if isinstance(document, dict) else None
    reason = _one_line(reason or answer.content[:_MAX_REASON_CHARS].decode(errors="replace") or "no reason given")
    msg = f"Kubernetes: {what}: {answer.status}: {reason}"
    if answer.status in _TRANSIENT:
        raise KubernetesUnavailableError(msg, after_s=_seconds(answer.retry_after))
    raise KubernetesRefusedError(msg, status=answer.status)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:_MAX_REASON_CHARS]
