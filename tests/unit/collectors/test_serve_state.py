"""Serve's state as a scrape: fresh, or failed and saying why."""

from __future__ import annotations

import aiohttp

from controller.clients.serve import ServeClient
from controller.clock import SystemClock
from controller.collectors.serve_state import ServeStateCollector
from controller.domain.scrape import SourceKind
from tests.serve_rest import CHAT, Fault, ServeRestStandIn


async def test_one_scrape_carries_the_whole_state():
    async with ServeRestStandIn() as serve, aiohttp.ClientSession() as session:
        client = ServeClient(base_url=serve.base_url, session=session)
        clock = SystemClock()
        before = clock.now()

        (scrape,) = await ServeStateCollector(client=client, clock=clock).collect(before)

        assert scrape.ok
        assert scrape.kind is SourceKind.SERVE
        assert scrape.source == f"serve/{serve.base_url.removeprefix('http://')}"
        assert before <= scrape.at <= clock.now()
        assert scrape.duration_s > 0
        assert scrape.serve is not None
        assert scrape.serve.deployment(CHAT) is not None


async def test_an_unreachable_serve_is_a_failed_scrape_under_the_same_name_and_comes_back():
    async with ServeRestStandIn() as serve, aiohttp.ClientSession() as session:
        collector = ServeStateCollector(
            client=ServeClient(base_url=serve.base_url, session=session), clock=SystemClock()
        )
        serve.fail(Fault(status=503, text="Failed to get a response from the controller."))

        (failed,) = await collector.collect(0.0)
        serve.recover()
        (recovered,) = await collector.collect(0.0)

        assert not failed.ok
        assert failed.serve is None
        assert "Failed to get a response from the controller." in failed.errors[0]
        assert recovered.ok
        assert recovered.source == failed.source
