"""Scraping Ray's metrics agents as discovery finds them."""

from __future__ import annotations

from controller.collectors.discovery import StaticDiscovery
from controller.collectors.ray_agents import RayAgentsCollector
from controller.domain.scrape import SourceKind
from controller.errors import UnavailableError


class ChangingDiscovery:
    """Gives what it was last told to give."""

    def __init__(self, targets):
        self.answer = targets

    async def targets(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_each_node_is_one_scrape(session, clock, serve_page, capture):
    loaded = await serve_page(capture("ray_8080_llmd_loaded"))
    idle = await serve_page(capture("ray_8080_light_idle"))
    collector = RayAgentsCollector(discovery=StaticDiscovery([loaded, idle]), session=session, clock=clock)

    scrapes = await collector.collect(clock.now())

    assert [scrape.source for scrape in scrapes] == [url.replace("http://", "ray/") for url in (loaded, idle)]
    assert [(scrape.ok, scrape.kind, scrape.errors) for scrape in scrapes] == [(True, SourceKind.RAY, ())] * 2
    assert [len(scrape.samples) for scrape in scrapes] == [414, 28]


async def test_gauges_that_expired_while_idle_are_absent_not_zero(session, clock, serve_page, capture):
    names = []
    for state in ("llm_loaded", "llm_after12"):
        url = await serve_page(capture(f"ray_8080_{state}"))
        collector = RayAgentsCollector(discovery=StaticDiscovery([url]), session=session, clock=clock)
        [scrape] = await collector.collect(clock.now())
        names.append({sample.name for sample in scrape.samples})

    assert names[0] - names[1] == {
        "ray_vllm_num_requests_running",
        "ray_vllm_num_requests_waiting",
        "ray_vllm_kv_cache_usage_perc",
    }


async def test_when_discovery_fails_the_last_nodes_are_scraped_and_the_failure_is_reported(
    session, clock, serve_page, capture
):
    url = await serve_page(capture("ray_8080_light_idle"))
    discovery = ChangingDiscovery([url])
    collector = RayAgentsCollector(discovery=discovery, session=session, clock=clock)
    await collector.collect(clock.now())

    discovery.answer = UnavailableError("the file is gone")
    scrapes = await collector.collect(1000.0)

    assert [(scrape.source, scrape.ok) for scrape in scrapes] == [
        ("ray/discovery", False),
        (url.replace("http://", "ray/"), True),
    ]
    assert scrapes[0].errors == ("the file is gone",)
    assert scrapes[0].at == 1000.0


async def test_when_discovery_never_worked_only_its_failure_is_reported(session, clock):
    collector = RayAgentsCollector(
        discovery=ChangingDiscovery(UnavailableError("not yet")), session=session, clock=clock
    )

    [scrape] = await collector.collect(5.0)

    assert (scrape.source, scrape.kind, scrape.ok, scrape.errors) == (
        "ray/discovery",
        SourceKind.RAY,
        False,
        ("not yet",),
    )


async def test_a_node_that_left_discovery_is_not_reported_and_one_that_is_down_is(
    session, clock, serve_page, refused, capture
):
    stays = await serve_page(capture("ray_8080_light_idle"))
    leaves = await serve_page(capture("ray_8080_light_idle"))
    discovery = ChangingDiscovery([stays, leaves])
    collector = RayAgentsCollector(discovery=discovery, session=session, clock=clock)
    assert len(await collector.collect(clock.now())) == 2

    discovery.answer = [stays, refused]
    scrapes = await collector.collect(clock.now())

    assert [(scrape.source, scrape.ok) for scrape in scrapes] == [
        (stays.replace("http://", "ray/"), True),
        ("ray/127.0.0.1:1", False),
    ]
