"""A large fleet through a Prometheus-compatible API: asked for in parts, each with whole targets."""

from __future__ import annotations

import json
import re

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from controller.collectors.prometheus import PrometheusCollector, parting
from controller.collectors.prometheus_api import PrometheusApi

RUNNING = "ray_vllm_num_requests_running"
MATCHER = re.compile(r'instance(=~|!~)"([^"]*)"')
TARGETS = tuple(f"10.0.{number // 20}.{number % 20}:8080" for number in range(100))


def fits(matcher: str, instance: str) -> bool:
    """Whether a series of the instance fits, as Prometheus reads a matcher."""
    found = MATCHER.search(matcher)
    if found is None:
        return True
    operator, pattern = found.groups()
    return (re.fullmatch(pattern.replace("\\\\", "\\"), instance) is not None) == (operator == "=~")


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.from_regex(r"[a-zA-Z0-9.-]{1,20}", fullmatch=True),
)


@given(
    st.one_of(st.text(max_size=30), st.builds("{}:{}".format, HOSTS, st.one_of(st.integers(1, 65535), st.text("abz")))),
    st.integers(1, 4),
)
def test_every_instance_is_in_exactly_one_part(instance: str, count: int) -> None:
    parts = parting(count)

    assert len(parts) == count
    assert sum(fits(part, instance) for part in parts) == 1


@pytest.mark.parametrize("count", [2, 3, 4])
def test_parts_are_of_about_the_same_size(count: int) -> None:
    sizes = [sum(fits(part, target) for target in TARGETS) for part in parting(count)]

    assert max(sizes) <= 1.5 * len(TARGETS) / count


class Fleet:
    """A server of megabytes of series, which answers for the instances that it is asked for."""

    def __init__(self, *, padding: int = 100) -> None:
        self.queries: list[str] = []
        self.padding = padding
        self.deaf = False
        self.refused = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with ten replicas' series for each target that was asked for."""
        query = str((await request.post())["query"])
        self.queries.append(query)
        if self.refused and self.refused in query:
            return web.Response(status=503, text="busy")
        asked = [target for target in TARGETS if self.deaf or fits(query, target)]
        result = [self._series(target, number) for target in asked for number in range(10)]
        body = {"status": "success", "data": {"resultType": "matrix", "result": result}}
        return web.Response(body=json.dumps(body, separators=(",", ":")).encode())

    def _series(self, target: str, number: int) -> dict[str, object]:
        labels = {"__name__": RUNNING, "ReplicaId": f"{target}-{number}", "instance": target, "job": "ray"}
        return {"metric": labels | {"unread": "x" * self.padding}, "values": [[105.0, str(number)]]}


@pytest.fixture
async def asked(serve, session, clock):
    fleet = Fleet()
    api = PrometheusApi(base_url=await serve(fleet.answer), session=session)
    return fleet, PrometheusCollector(api=api, clock=clock, part_bytes=200_000)


def seen(scrapes):
    return {scrape.source: (scrape.ok, scrape.at, scrape.samples) for scrape in scrapes}


async def test_a_large_answer_is_asked_for_in_parts_from_then_on_and_tells_the_same(asked):
    fleet, collector = asked

    whole = await collector.collect(110.0)
    in_parts = await collector.collect(120.0)

    assert len(whole) == len(TARGETS)
    assert seen(in_parts) == seen(whole)
    assert all(scrape.ok and len(scrape.samples) == 10 for scrape in in_parts)
    assert ["instance" in query for query in fleet.queries] == [False, True, True]


async def test_a_fleet_that_became_small_is_asked_for_with_one_query_again(asked):
    fleet, collector = asked
    await collector.collect(110.0)
    fleet.padding = 1

    await collector.collect(120.0)
    await collector.collect(130.0)

    assert ["instance" in query for query in fleet.queries] == [False, True, True, False]


async def test_a_part_that_is_refused_fails_every_known_source(asked):
    fleet, collector = asked
    await collector.collect(110.0)
    fleet.refused = "!~"

    scrapes = await collector.collect(120.0)

    assert len(scrapes) == len(TARGETS)
    assert not any(scrape.ok for scrape in scrapes)
    assert "HTTP 503" in scrapes[0].errors[0]


async def test_a_server_that_ignores_the_parting_is_not_believed(asked):
    fleet, collector = asked
    await collector.collect(110.0)
    fleet.deaf = True

    scrapes = await collector.collect(120.0)

    assert not any(scrape.ok for scrape in scrapes)
    assert "the server ignores a matcher on instance" in scrapes[0].errors[0]
