"""Ray's metrics agents: one page for each node, with the series of Serve and vLLM."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from controller.collectors.discovery import Discovery
from controller.collectors.pages import PageScraper
from controller.domain.scrape import Scrape, SourceKind
from controller.errors import UnavailableError
from controller.ports import Clock

DISCOVERY_SOURCE = "ray/discovery"


class RayAgentsCollector:
    """Scrapes every discovered node at once.

    ``timeout_s`` and ``max_bytes`` bound each endpoint. When discovery fails the nodes found last are
    scraped and a failed scrape named ``ray/discovery`` is added; a node that left discovery is no longer
    reported. Nothing is retried within one pass: the next tick does that.
    """

    def __init__(
        self,
        *,
        discovery: Discovery,
        session: aiohttp.ClientSession,
        clock: Clock,
        timeout_s: float = 3.0,
        max_bytes: int = 32_000_000,
    ) -> None:
        self._discovery = discovery
        self._scraper = PageScraper(
            kind=SourceKind.RAY, session=session, clock=clock, timeout_s=timeout_s, max_bytes=max_bytes
        )
        self._targets: Sequence[str] = ()

    async def collect(self, now: float) -> Sequence[Scrape]:
        """One scrape per node, failed ones included."""
        failed: tuple[Scrape, ...] = ()
        try:
            self._targets = await self._discovery.targets()
        except UnavailableError as error:
            failed = (Scrape(source=DISCOVERY_SOURCE, kind=SourceKind.RAY, at=now, ok=False, errors=(str(error),)),)
        return (*failed, *await self._scraper.scrape_all(self._targets))

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""
