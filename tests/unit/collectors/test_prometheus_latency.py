"""Latencies that Prometheus adds up: asked beside the tick, by deployment, from a real server and a fake one."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from controller.catalog import scraped
from controller.clock import SystemClock
from controller.collectors.prometheus_api import PrometheusApi
from controller.collectors.prometheus_latency import HISTOGRAMS, PrometheusLatency, distributions, grown
from controller.domain.identity import DeploymentId
from controller.domain.scrape import SourceKind

CHAT = DeploymentId("chat", "LLMServer:tiny")


def bucket(bound, count, *, deployment="LLMServer:tiny"):
    return {"metric": {"application": "chat", "deployment": deployment, "le": bound}, "value": [100.0, count]}


def vector(*entries, status="success", kind="vector"):
    return json.dumps({"status": status, "data": {"resultType": kind, "result": list(entries)}}).encode()


@pytest.fixture
async def asked(serve, session, clock):
    """A collector of a server that answers what ``answers`` holds, and the queries that it was sent."""
    started = []

    async def start(answer, *, hold=None, came=None):
        queries = []

        async def handler(request):
            queries.append((await request.post())["query"])
            if hold is not None:
                came.set()
                await hold.wait()
            return answer if isinstance(answer, web.Response) else web.Response(body=answer)

        api = PrometheusApi(base_url=await serve(handler), session=session)
        started.append(PrometheusLatency(api=api, clock=clock))
        return started[-1], queries

    yield start
    for collector in started:
        await collector.close()


async def first(collector):
    """Pass after pass until there is an answer."""
    async with asyncio.timeout(10):
        while not (found := await collector.collect(0.0)):  # noqa: ASYNC110 - an answer is only ever asked for
            await asyncio.sleep(0.01)
    return found[0]


async def test_each_histogram_is_asked_for_once_and_told_by_deployment(asked):
    collector, queries = await asked(vector(bucket("0.5", "3"), bucket("0.1", "1"), bucket("+Inf", "4")))

    scrape = await first(collector)

    assert (scrape.kind, scrape.ok, scrape.errors) == (SourceKind.LATENCY, True, ())
    assert [one.family for one in scrape.distributions] == [metric.name for metric in HISTOGRAMS]
    assert {one.buckets for one in scrape.distributions} == {((0.1, 1.0), (0.5, 3.0), (float("inf"), 4.0))}
    assert queries[: len(HISTOGRAMS)] == [grown(metric, 30) for metric in HISTOGRAMS]


async def test_nobody_waits_for_an_answer_and_nothing_is_asked_twice_meanwhile(asked):
    hold, came = asyncio.Event(), asyncio.Event()
    collector, queries = await asked(vector(bucket("+Inf", "4")), hold=hold, came=came)

    while_it_lasts = [await collector.collect(float(tick)) for tick in range(3)]
    async with asyncio.timeout(10):
        await came.wait()
    hold.set()
    scrape = await first(collector)

    assert while_it_lasts == [(), (), ()]
    assert scrape.ok
    assert queries.count(grown(HISTOGRAMS[0], 30)) <= 2


class SetClock(SystemClock):
    """Shows what a test sets it to."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


async def test_a_server_that_takes_long_is_left_in_peace_for_twice_as_long(serve, session):
    clock, queries, hold = SetClock(), [], asyncio.Event()

    async def handler(request):
        queries.append((await request.post())["query"])
        clock.seconds += 1.0
        await hold.wait()
        return web.Response(body=vector(bucket("+Inf", "4")))

    collector = PrometheusLatency(api=PrometheusApi(base_url=await serve(handler), session=session), clock=clock)
    await collector.collect(0.0)
    hold.set()
    scrape = await first(collector)
    clock.seconds += 2 * scrape.duration_s - 0.1
    await collector.collect(0.0)
    await asyncio.sleep(0.05)
    while_resting = len(queries)
    clock.seconds += 0.2
    await first(collector)
    await collector.close()

    assert scrape.duration_s == len(HISTOGRAMS)
    assert while_resting == len(HISTOGRAMS)
    assert len(queries) == 2 * len(HISTOGRAMS)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(web.Response(status=503, text="busy"), "HTTP 503", id="503"),
        pytest.param(b"<html>", "not the vector that was asked for", id="html"),
        pytest.param(vector(kind="matrix"), "not the vector that was asked for", id="matrix"),
        pytest.param(vector({"metric": {}, "value": [1, "1"]}), "not the vector that was asked for", id="unlabelled"),
        pytest.param(vector(bucket("low", "1")), "not the vector that was asked for", id="no-bound"),
        pytest.param(b"[" * 200_000, "not the vector that was asked for", id="deep"),
    ],
)
async def test_an_answer_of_no_use_is_a_failed_scrape_that_says_so(asked, answer, said):
    collector, _ = await asked(answer)

    scrape = await first(collector)

    assert (scrape.ok, scrape.distributions) == (False, ())
    assert said in scrape.errors[0]


def test_a_count_that_is_no_number_is_left_out():
    found = distributions(vector(bucket("0.1", "NaN"), bucket("+Inf", "2")), scraped.VLLM_TTFT.name, 30.0)

    assert [one.buckets for one in found] == [((float("inf"), 2.0),)]
    assert found[0].deployment == CHAT


async def test_what_is_not_urgent_is_asked_when_what_is_urgent_was_answered(serve, session):
    came, hold, asked = asyncio.Event(), asyncio.Event(), []

    async def handler(request):
        asked.append((await request.post())["query"])
        if asked[-1] == "urgent":
            came.set()
            await hold.wait()
        return web.Response(body=vector())

    url = await serve(handler)
    urgent = PrometheusApi(base_url=url, session=session)
    unhurried = PrometheusApi(base_url=url, session=session, behind=urgent)

    first = asyncio.create_task(urgent.ask("urgent"))
    await came.wait()
    second = asyncio.create_task(unhurried.ask("unhurried"))
    third = asyncio.create_task(PrometheusApi(base_url=url, session=session).ask("somebody else's"))
    await third
    hold.set()
    await asyncio.gather(first, second)

    assert asked == ["urgent", "somebody else's", "unhurried"]
    await unhurried.ask("later")
    assert asked[-1] == "later"
