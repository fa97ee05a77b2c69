"""Fetching metrics pages over HTTP, bounded in time and size, and turning them into scrapes.

Nothing is retried here: a scrape that failed is reported as such and the next tick is the retry. A retry
within a tick would only make the tick late and the picture no fresher.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp

from controller.catalog.metric import Origin
from controller.collectors.exposition import ExpositionReader
from controller.domain.scrape import Sample, Scrape, SourceKind
from controller.errors import BadInputError
from controller.ports import Clock
from controller.window.recorded import READ

ORIGIN_OF_KIND = {SourceKind.RAY: Origin.RAY, SourceKind.HAPROXY: Origin.HAPROXY}

READ_INLINE_BYTES = 1_000_000
"""Larger pages are read in a thread: at worst (every line new and wanted) a megabyte takes some 20 ms."""

_ACCEPT = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip"}
_ANEW = {"Connection": "close"}
_CHUNK_BYTES = 65_536
_OK = 200


class FetchError(Exception):
    """No usable answer; the message says what came instead.

    ``status`` is the HTTP status, if there was one, and ``body`` what came with a status other than 200.
    """

    def __init__(self, message: str, *, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    *,
    timeout_s: float,
    max_bytes: int,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
) -> bytes:
    """Return the body of a 200 answer to GET, or to POST when there is a ``form``.

    ``timeout_s`` bounds everything from connecting to the last byte; ``max_bytes`` bounds the body after
    decompression. Redirects are not followed.

    Raises:
        FetchError: anything else came, or nothing.

    """
    received = 0
    try:
        async with (
            asyncio.timeout(timeout_s),
            session.request(
                "GET" if form is None else "POST",
                url,
                headers=dict(headers or {}),
                data=None if form is None else dict(form),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response,
        ):
            chunks = []
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                received += len(chunk)
                if received > max_bytes:
                    msg = f"answer larger than {max_bytes} bytes"
                    raise FetchError(msg, status=response.status)
                chunks.append(chunk)
            body = b"".join(chunks)
            if response.status != _OK:
                raise _refused(response.status, body)
            return body
    except TimeoutError:
        msg = f"no complete answer within {timeout_s:g} s ({received} bytes of it came)"
        raise FetchError(msg) from None
    except (aiohttp.ClientError, OSError) as error:
        msg = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise FetchError(msg) from error


class PageScraper:
    """Scrapes metrics pages of one kind of system, all at once.

    Each scrape connects ``anew`` where another process may have taken over the address since the one before.
    """

    def __init__(
        self,
        *,
        kind: SourceKind,
        session: aiohttp.ClientSession,
        clock: Clock,
        timeout_s: float,
        max_bytes: int,
        anew: bool = False,
    ) -> None:
        self._kind = kind
        self._session = session
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._headers = _ACCEPT | (_ANEW if anew else {})
        origin = ORIGIN_OF_KIND[kind]
        self._reader = ExpositionReader({name: m for name, m in READ.items() if m.origin is origin})

    async def scrape_all(self, urls: Sequence[str]) -> tuple[Scrape, ...]:
        """One scrape per distinct URL, in order; failures are in the scrapes."""
        return tuple(await asyncio.gather(*(self._scrape(url) for url in dict.fromkeys(urls))))

    async def _scrape(self, url: str) -> Scrape:
        started = self._clock.monotonic()
        samples: tuple[Sample, ...] = ()
        try:
            body = await fetch(
                self._session,
                metrics_url(url),
                timeout_s=self._timeout_s,
                max_bytes=self._max_bytes,
                headers=self._headers,
            )
            at = self._clock.now()
            samples, errors = await self._read(body)
            ok = True
        except FetchError as error:
            at, errors, ok = self._clock.now(), (f"{metrics_url(url)}: {error}",), False
        return Scrape(
            source=f"{self._kind}/{endpoint(url)}",
            kind=self._kind,
            at=at,
            ok=ok,
            samples=samples,
            errors=errors,
            duration_s=self._clock.monotonic() - started,
        )

    async def _read(self, body: bytes) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
        # A page that was cut looks like one whose gauges have expired, so none of it is believed.
        if not body.endswith(b"\n"):
            msg = f"the page ends inside a line after {len(body)} bytes" if body else "the page is empty"
            raise FetchError(msg)
        if len(body) <= READ_INLINE_BYTES:
            samples, errors = self._reader.read(body)
        else:
            samples, errors = await asyncio.to_thread(self._reader.read, body)
        if not samples and b"# TYPE " not in body:
            msg = f"not a metrics page; it begins with {_excerpt(body)!r}"
            raise FetchError(msg)
        return samples, errors


def endpoint(url: str) -> str:
    """``host:port`` of a URL, with the scheme's port where none is written."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def metrics_url(url: str) -> str:
    """Return ``url`` with the path /metrics when it has none."""
    parts = urlsplit(url)
    return url if parts.path.strip("/") else parts._replace(path="/metrics").geturl()


def check_url(url: str) -> str:
    """Return ``url`` when it can be fetched. Raises BadInputError."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        msg = f"{url!r} is not an endpoint; expected a URL like http://10.0.0.3:8080"
        raise BadInputError(msg)
    return url


def _refused(status: int, body: bytes) -> FetchError:
    excerpt = _excerpt(body)
    return FetchError(f"HTTP {status}: {excerpt!r}" if excerpt else f"HTTP {status}", status=status, body=body)


def _excerpt(body: bytes) -> str:
    return body[:200].decode(errors="replace").strip()
