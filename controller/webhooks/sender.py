"""One attempt to deliver one event to one sink, and what it means for the next."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from controller.domain.event import Event
from controller.errors import BadInputError
from controller.policy.webhooks import SinkKind, SinkPolicy
from controller.webhooks import signing
from controller.webhooks.destinations import ForbiddenAddressError, GuardedResolver, check, networks
from controller.webhooks.formats import PAGERDUTY_URL, Body, body
from controller.webhooks.secrets import secret_of

_MOST_READ = 65_536
_MOST_SAID = 200
_MOST_RETRY_AFTER_S = 3600.0
_WORTH_A_RETRY = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink took it: it answered 2xx."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Nothing came of it, and another attempt may help, not before ``after_s`` seconds where the sink said so."""

    why: str
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Another attempt would come to the same."""

    why: str


Result = Delivered | TryAgain | GiveUp


class Sender:
    """Sends to one sink: no redirects, no proxies of the environment, no cookies, no forbidden addresses.

    No message of it has an address beyond its host, a key, or a body.
    """

    def __init__(self, sink: SinkPolicy, *, source: str) -> None:
        self._sink = sink
        self._source = source
        self._allowed = networks(sink.allow_addresses)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, event: Event, *, now: float) -> Result:
        """Try once. Never raises."""
        try:
            url = self._url()
            secret = secret_of(self._sink.secret_file, self._sink.secret_env, key="secret")
        except BadInputError as error:
            return TryAgain(str(error))
        try:
            written = body(event, self._sink, source=self._source, routing_key=secret)
        except ValueError as error:
            return GiveUp(str(error))
        key = None if self._sink.kind is SinkKind.PAGERDUTY else secret
        signed = signing.headers(key, name=event.id, at=now, body=written.content)
        return await self._attempt(url, written, signed)

    async def close(self) -> None:
        """Release connections."""
        if self._session is not None:
            await self._session.close()

    async def _attempt(self, url: URL, written: Body, signed: dict[str, str]) -> Result:
        host = url.host or ""
        headers = {"Content-Type": written.content_type, "User-Agent": "foreserve", **signed}
        try:
            with contextlib.suppress(ValueError):  # A name; the resolver checks its addresses.
                check(host, self._allowed)
            async with (
                asyncio.timeout(self._sink.timeout_s),
                self._open().post(url, data=written.content, headers=headers, allow_redirects=False) as response,
            ):
                said = await response.content.read(_MOST_READ)
                return _judge(host, response, said)
        except TimeoutError:
            return TryAgain(f"{host} gave no answer within {self._sink.timeout_s:g} s")
        except ForbiddenAddressError as error:
            return GiveUp(str(error))
        except (aiohttp.ClientError, OSError) as error:
            return _unreachable(host, error)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(self._allowed), use_dns_cache=False, limit=1, force_close=True
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    def _url(self) -> URL:
        given = self._sink.url or secret_of(self._sink.url_file, self._sink.url_env, key="url") or PAGERDUTY_URL
        try:
            url = URL(given)
            usable = url.scheme in {"http", "https"} and bool(url.host) and not (url.user or url.password)
        except ValueError:
            usable, url = False, URL()
        if not usable:
            msg = "its address is none to send to; expected one like https://hooks.example.com/x, without a password"
            raise BadInputError(msg)
        return url


def _judge(host: str, response: aiohttp.ClientResponse, said: bytes) -> Result:
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Delivered()
    words = " ".join(said.decode(errors="replace").split())[:_MOST_SAID]
    why = f"{host} answered {status}" + (f": {words}" if words.isprintable() and words else "")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _WORTH_A_RETRY:
        return TryAgain(why, _retry_after(response.headers.get("Retry-After", "")))
    if status < HTTPStatus.BAD_REQUEST:
        return GiveUp(f"{host} answered {status}: it leads elsewhere, which is not followed; give the final address")
    return GiveUp(why)


def _retry_after(text: str) -> float:
    return min(_MOST_RETRY_AFTER_S, float(text)) if text.isascii() and text.isdecimal() else 0.0


def _unreachable(host: str, error: Exception) -> Result:
    """Find what is behind it. aiohttp's own texts may repeat an address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddressError):
            return GiveUp(str(cause))
        cause = getattr(cause, "os_error", None) or cause.__cause__
    number = getattr(getattr(error, "os_error", error), "errno", None)
    reason = os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
    return TryAgain(f"{host} cannot be reached ({reason})")
