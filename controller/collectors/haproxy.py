"""HAProxy's Prometheus endpoint. It is not in Ray's service discovery, so its addresses are given."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from controller.collectors.pages import PageScraper, check_url
from controller.domain.scrape import Scrape, SourceKind
from controller.ports import Clock


class HAProxyCollector:
    """Scrapes every given HAProxy at once; a URL without a path means its ``/metrics``.

    ``timeout_s`` and ``max_bytes`` bound each endpoint. Counters restart at every reload, that is at every
    change of the replica set: ``haproxy_process_start_time_seconds`` is among the samples to tell. Nothing
    is retried within one pass: the next tick does that.
    """

    def __init__(
        self,
        *,
        urls: Sequence[str],
        session: aiohttp.ClientSession,
        clock: Clock,
        timeout_s: float = 3.0,
        max_bytes: int = 32_000_000,
    ) -> None:
        """Raise BadInputError for a URL that cannot be fetched."""
        self._urls = tuple(check_url(url) for url in urls)
        self._scraper = PageScraper(
            kind=SourceKind.HAPROXY, session=session, clock=clock, timeout_s=timeout_s, max_bytes=max_bytes
        )

    async def collect(self, now: float) -> Sequence[Scrape]:  # noqa: ARG002 - each page carries its own time
        """One scrape per HAProxy, failed ones included."""
        return await self._scraper.scrape_all(self._urls)

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""
