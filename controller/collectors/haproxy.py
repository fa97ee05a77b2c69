"""HAProxy's Prometheus endpoint. It is not in Ray's service discovery: its addresses are given, or Serve is asked."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from controller.collectors.discovery import Discovery, StaticDiscovery
from controller.collectors.pages import PageScraper
from controller.domain.scrape import Scrape, SourceKind
from controller.errors import UnavailableError
from controller.ports import Clock


class HAProxyCollector:
    """Scrapes every HAProxy at once, the given ones or those found; a URL without a path means its ``/metrics``.

    ``timeout_s`` and ``max_bytes`` bound each endpoint. Counters restart at every reload, that is at every
    change of the replica set: ``haproxy_process_start_time_seconds`` is among the samples to tell. The process
    that was replaced answers once more on a connection kept open (Ray sets ``option idle-close-on-response``), so
    none is kept. Nothing is retried within one pass: the next tick does that. When discovery fails those found
    last are scraped, and a failed scrape named ``haproxy/discovery`` is added.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str] = (),
        discovery: Discovery | None = None,
        session: aiohttp.ClientSession,
        clock: Clock,
        timeout_s: float = 3.0,
        max_bytes: int = 32_000_000,
    ) -> None:
        """Raise BadInputError for a URL that cannot be fetched."""
        self._discovery = discovery or StaticDiscovery(urls)
        self._urls: Sequence[str] = ()
        self._scraper = PageScraper(
            kind=SourceKind.HAPROXY,
            session=session,
            clock=clock,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
            anew=True,
        )

    async def collect(self, now: float) -> Sequence[Scrape]:
        """One scrape per HAProxy, failed ones included."""
        failed: tuple[Scrape, ...] = ()
        try:
            self._urls = await self._discovery.targets()
        except UnavailableError as error:
            source = "haproxy/discovery"
            failed = (Scrape(source=source, kind=SourceKind.HAPROXY, at=now, ok=False, errors=(str(error),)),)
        return (*failed, *await self._scraper.scrape_all(self._urls))

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""
