"""Scraping metrics pages: each way in which an endpoint can be good or bad, against real servers."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import math
import time

import pytest
from aiohttp import web

from controller.collectors.haproxy import HAProxyCollector
from controller.domain.scrape import SourceKind
from controller.errors import BadInputError

PAGE = b'# TYPE haproxy_backend_current_queue gauge\nhaproxy_backend_current_queue{proxy="a"} 1\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.fixture
def scrape(session, clock):
    """Scrape one URL once."""

    async def once(url, **bounds):
        collector = HAProxyCollector(urls=[url], session=session, clock=clock, **bounds)
        [result] = await collector.collect(clock.now())
        return result

    return once


def values(scrape, name):
    return {dict(sample.labels).get("proxy"): sample.value for sample in scrape.samples if sample.name == name}


async def test_a_good_page_gives_its_samples_source_and_times(scrape, serve_page, capture, clock):
    url = await serve_page(capture("haproxy_9101_llmd_loaded"))

    before = clock.now()
    result = await scrape(url)

    assert result.ok
    assert result.errors == ()
    assert result.kind is SourceKind.HAPROXY
    assert result.source == url.replace("http://", "haproxy/")
    assert before <= result.at <= clock.now()
    assert 0 < result.duration_s < 5
    assert values(result, "haproxy_backend_current_sessions")["http-llmd-via-ingress-request-router"] == 24


async def test_pages_before_and_after_a_reload_show_the_new_process_and_its_restarted_counters(
    scrape, serve_page, capture
):
    before = await scrape(await serve_page(capture("haproxy_9101_llmd_scaleup")))
    after = await scrape(await serve_page(capture("haproxy_9101_llmd_2replicas")))

    started = "haproxy_process_start_time_seconds"
    assert values(before, started) == {None: 1795223123}
    assert values(after, started) == {None: 1795223286}
    requests = "haproxy_backend_http_requests_total"
    proxy = "http-llmd-via-ingress-request-router"
    assert (values(before, requests)[proxy], values(after, requests)[proxy]) == (9083, 16)


async def test_missing_families_are_simply_absent(scrape, serve_page, capture):
    page = b"".join(
        line for line in capture("haproxy_9101_llmd_loaded").splitlines(keepends=True) if b"queue" not in line
    )

    result = await scrape(await serve_page(page))

    assert result.ok
    assert values(result, "haproxy_backend_current_queue") == {}
    assert values(result, "haproxy_backend_current_sessions") != {}


async def test_duplicate_series_keep_the_last_value_and_say_so(scrape, serve_page, capture):
    page = capture("haproxy_9101_llmd_loaded") + b'haproxy_backend_current_queue{proxy="http-llmd"} 77\n'

    result = await scrape(await serve_page(page))

    assert result.ok
    assert values(result, "haproxy_backend_current_queue")["http-llmd"] == 77
    assert "occurs twice" in result.errors[0]


async def test_nan_reaches_the_window_as_nan(scrape, serve_page):
    result = await scrape(await serve_page(PAGE.replace(b" 1\n", b" NaN\n")))

    assert result.ok
    assert math.isnan(result.samples[0].value)


async def test_a_page_without_any_catalogued_metric_is_an_answer(scrape, serve_page, capture):
    result = await scrape(await serve_page(capture("autoscaler_44217_light_idle")))

    assert result.ok
    assert result.samples == ()


async def test_a_compressed_page_is_read(scrape, serve_page, capture):
    page = gzip.compress(capture("haproxy_9101_llmd_loaded"))

    result = await scrape(await serve_page(page, headers={"Content-Encoding": "gzip"}))

    assert result.ok
    assert len(result.samples) == 56


async def test_a_url_with_a_path_is_taken_as_it_is(scrape, serve):
    async def handler(request):
        return web.Response(body=PAGE) if request.path == "/custom" else web.Response(status=404)

    url = await serve(handler)

    assert (await scrape(f"{url}/custom")).ok
    assert not (await scrape(url)).ok


@pytest.mark.parametrize(
    ("answer", "headers", "status", "error"),
    [
        pytest.param(b"", None, 200, "the page is empty", id="empty"),
        pytest.param(b"<html>Sign in</html>\n", None, 200, "not a metrics page; it begins with '<html>", id="html"),
        pytest.param(b'{"status": "ok"}\n', None, 200, "not a metrics page", id="json"),
        pytest.param(PAGE[:-3], None, 200, "ends inside a line", id="cut-without-newline"),
        pytest.param(b"boom", None, 500, "HTTP 500: 'boom'", id="500"),
        pytest.param(b"", None, 503, "HTTP 503", id="503"),
        pytest.param(b"", {"Location": "http://127.0.0.1:1/"}, 302, "HTTP 302", id="redirect-not-followed"),
        pytest.param(PAGE, {"Content-Encoding": "gzip"}, 200, "gzip", id="said-gzip-but-is-not"),
        pytest.param(gzip.compress(PAGE)[:-20], {"Content-Encoding": "gzip"}, 200, "page", id="cut-gzip"),
    ],
)
async def test_an_unusable_answer_is_a_failed_scrape(scrape, serve_page, *, answer, headers, status, error):
    result = await scrape(await serve_page(answer, status=status, headers=headers))

    assert not result.ok
    assert result.samples == ()
    assert len(result.errors) == 1
    assert error in result.errors[0]


@pytest.mark.parametrize(
    ("answer", "then_hang", "error"),
    [
        pytest.param([], True, "no complete answer within 0.3 s (0 bytes", id="hangs-before-headers"),
        pytest.param([HEAD + b"\r\n"], True, "no complete answer within 0.3 s (0 bytes", id="hangs-after-headers"),
        pytest.param([HEAD + b"\r\n", PAGE], True, f"({len(PAGE)} bytes of it came)", id="hangs-within-the-body"),
        pytest.param([HEAD + b"Content-Length: 9999\r\n\r\n", PAGE], False, "Payload", id="closed-within-the-body"),
        pytest.param([], False, "Disconnected", id="closed-without-an-answer"),
        pytest.param([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], False, "ClientResponseError", id="not-http"),
    ],
)
async def test_a_broken_connection_is_a_failed_scrape_within_the_timeout(scrape, serve_raw, answer, then_hang, error):
    url = await serve_raw(answer, then_hang=then_hang)

    started = time.monotonic()
    result = await scrape(url, timeout_s=0.3)

    assert not result.ok
    assert result.samples == ()
    assert error in result.errors[0]
    assert url in result.errors[0]
    assert time.monotonic() - started < 1.5


async def test_a_refused_connection_is_a_failed_scrape(scrape, refused):
    result = await scrape(refused)

    assert not result.ok
    assert result.source == "haproxy/127.0.0.1:1"
    assert "Connect" in result.errors[0]


async def test_an_endless_page_is_stopped_at_the_bound(scrape, serve_raw):
    url = await serve_raw(itertools.chain([HEAD + b"\r\n"], itertools.repeat(PAGE * 500)))

    result = await scrape(url, max_bytes=2_000_000, timeout_s=10)

    assert not result.ok
    assert "larger than 2000000 bytes" in result.errors[0]


async def test_a_compressed_page_is_bounded_by_its_real_size(scrape, serve_page):
    bomb = gzip.compress(b"\n" * 50_000_000)

    result = await scrape(await serve_page(bomb, headers={"Content-Encoding": "gzip"}), max_bytes=1_000_000)

    assert len(bomb) < 100_000
    assert "larger than 1000000 bytes" in result.errors[0]


async def test_endpoints_are_scraped_at_the_same_time_and_a_hanging_one_spoils_no_other(
    session, clock, serve_raw, serve_page, capture
):
    hanging = [await serve_raw([], then_hang=True) for _ in range(5)]
    good = await serve_page(capture("haproxy_9101_llm_loaded"))
    collector = HAProxyCollector(urls=[*hanging, good, good], session=session, clock=clock, timeout_s=0.4)

    started = time.monotonic()
    results = await collector.collect(clock.now())

    assert [result.ok for result in results] == [False] * 5 + [True]
    assert time.monotonic() - started < 1.5


async def test_a_page_of_many_megabytes_is_read_in_time_without_blocking_the_loop(session, clock, serve_page, capture):
    page = capture("haproxy_9101_llmd_loaded")
    big = b"".join(page.replace(b'{proxy="', b'{proxy="copy%d-' % number) for number in range(45))
    url = await serve_page(big)
    collector = HAProxyCollector(urls=[url], session=session, clock=clock)
    gaps = []

    async def watch():
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - started)

    watching = asyncio.create_task(watch())
    [result] = await collector.collect(clock.now())
    watching.cancel()

    assert len(big) > 5_000_000
    assert result.ok
    assert len(values(result, "haproxy_backend_current_queue")) == 45 * 5
    assert result.duration_s < 3
    assert max(gaps) < 0.3


@pytest.mark.parametrize(
    "url", ["10.0.0.3:9101", "ftp://a/metrics", "http://", "http://a:0", "http://a:99999", "http://a..b:80", ""]
)
def test_an_endpoint_that_is_no_url_is_refused(url):
    with pytest.raises(BadInputError, match="expected a URL like"):
        HAProxyCollector(urls=[url], session=None, clock=None)
