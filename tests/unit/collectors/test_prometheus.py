"""The catalogue through a Prometheus-compatible API: a real Prometheus, and a fake for its ways to fail."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import socket
import subprocess
from dataclasses import dataclass

import pytest
from aiohttp import web

from controller.catalog import scraped
from controller.collectors.discovery import StaticDiscovery
from controller.collectors.haproxy import HAProxyCollector
from controller.collectors.prometheus import PrometheusCollector
from controller.collectors.prometheus_api import PrometheusApi
from controller.collectors.prometheus_latency import HISTOGRAMS
from controller.collectors.ray_agents import RayAgentsCollector
from controller.domain.scrape import SourceKind
from controller.errors import BadInputError

PROMETHEUS = shutil.which("prometheus")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="needs the prometheus binary (apt install prometheus)")
QUEUE = "haproxy_backend_current_queue"
RUNNING = "ray_vllm_num_requests_running"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Server:
    """A running Prometheus, and the ports at which it looks for its two targets."""

    url: str
    ray_port: int
    haproxy_port: int


@pytest.fixture(scope="module", autouse=PROMETHEUS is not None)
def prometheus(tmp_path_factory):
    """A real Prometheus. It takes five seconds to begin, so it starts before the tests that need no real one."""
    directory = tmp_path_factory.mktemp("prometheus")
    ray_port, haproxy_port = free_port(), free_port()
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "200ms"},
        "scrape_configs": [
            {"job_name": "ray", "static_configs": [{"targets": [f"127.0.0.1:{ray_port}"]}]},
            {"job_name": "haproxy", "static_configs": [{"targets": [f"127.0.0.1:{haproxy_port}"]}]},
        ],
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    listen = f"127.0.0.1:{free_port()}"
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/tsdb",
                f"--web.listen-address={listen}",
            ],
            stdout=log,
            stderr=log,
        )
        yield Server(f"http://{listen}", ray_port, haproxy_port)
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def collector(session, clock):
    def made(url, *, look_back_s=30, matchers="", part_bytes=16_000_000, **options):
        api = PrometheusApi(base_url=url, session=session, **options)
        return PrometheusCollector(
            api=api, clock=clock, look_back_s=look_back_s, matchers=matchers, part_bytes=part_bytes
        )

    return made


async def until(collector, condition):
    """Collect again and again until the scrapes, by source, are as they should be."""
    async with asyncio.timeout(30):
        while True:
            scrapes = {scrape.source: scrape for scrape in await collector.collect(0.0)}
            if condition(scrapes):
                return scrapes
            await asyncio.sleep(0.1)


def address(url):
    return url.removeprefix("http://")


def without_added_up(samples):
    """Leave out the histograms that Prometheus adds up, all but the number of first tokens."""
    kept = f"{scraped.VLLM_TTFT.name}_bucket"
    added_up = {f"{metric.name}_bucket" for metric in HISTOGRAMS}
    return [
        sample
        for sample in samples
        if sample.name not in added_up or (sample.name == kept and ("le", "+Inf") in sample.labels)
    ]


def names(scrape):
    return {sample.name for sample in scrape.samples}


def series(name, points, *, instance="10.0.0.3:9101", **labels):
    return {
        "metric": {"__name__": name, "instance": instance, "job": "x"} | labels,
        "values": [[at, value] for at, value in points],
    }


def matrix(*entries, **more):
    return {"status": "success", "data": {"resultType": "matrix", "result": list(entries)}} | more


UP = series("up", [(100.0, "1"), (105.0, "1")])


@pytest.fixture
def answered(serve, collector):
    """A collector, and a way to set what the fake server answers next."""

    async def start(**options):
        state = {}

        async def handler(request):
            state["form"] = await request.post()
            state["headers"] = request.headers
            answer, status = state["answer"]
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return web.Response(body=body, status=status)

        subject = collector(await serve(handler), **options)

        async def collect(answer, *, status=200, now=110.0):
            state["answer"] = answer, status
            return {scrape.source: scrape for scrape in await subject.collect(now)}

        return collect, state

    return start


async def test_one_query_asks_for_the_whole_catalogue_with_the_token(answered):
    collect, state = await answered(token="s3cret", look_back_s=45, matchers='cluster="prod"')

    await collect(matrix(UP))

    query = state["form"]["query"]
    assert query.startswith('{__name__=~"up|')
    assert query.endswith('",cluster="prod"}[45s]')
    asked = set(query.split('"')[1].split("|"))
    assert {RUNNING, QUEUE, "ray_vllm_time_to_first_token_seconds_count"} <= asked
    assert not {f"{metric.name}_bucket" for metric in HISTOGRAMS} & asked
    assert state["headers"]["Authorization"] == "Bearer s3cret"


async def test_the_newest_point_counts_and_its_time_is_the_time_of_the_scrape(answered):
    collect, _ = await answered()

    found = await collect(matrix(UP, series(QUEUE, [(100.0, "3"), (105.0, "4")], proxy="a", server="unread")))

    scrape = found["haproxy/10.0.0.3:9101"]
    assert (scrape.ok, scrape.at, scrape.kind, scrape.errors) == (True, 105.0, SourceKind.HAPROXY, ())
    assert [(sample.labels, sample.value) for sample in scrape.samples] == [((("proxy", "a"),), 4.0)]


async def test_a_series_that_was_not_in_the_last_scrape_is_absent(answered):
    collect, _ = await answered()

    found = await collect(matrix(UP, series(QUEUE, [(100.0, "3")], proxy="gone"), series(QUEUE, [(105.0, "1")])))

    assert [sample.labels for sample in found["haproxy/10.0.0.3:9101"].samples] == [()]


async def test_nan_and_infinity_come_as_strings_and_are_passed_on(answered):
    collect, _ = await answered()

    found = await collect(matrix(UP, series(QUEUE, [(105.0, "NaN")], proxy="a"), series(QUEUE, [(105.0, "+Inf")])))

    values = [sample.value for sample in found["haproxy/10.0.0.3:9101"].samples]
    assert math.isnan(values[0])
    assert values[1] == math.inf


async def test_another_job_on_the_same_instance_does_not_make_its_series_look_expired(answered):
    collect, _ = await answered()
    probe = series("up", [(109.0, "0")])
    probe["metric"]["job"] = "blackbox"

    found = await collect(matrix(UP, probe, series(QUEUE, [(105.0, "4")])))

    assert [(source, scrape.ok, len(scrape.samples)) for source, scrape in found.items()] == [
        ("haproxy/10.0.0.3:9101", True, 1)
    ]


async def test_an_instance_scraped_by_two_jobs_is_reported_once_as_of_the_newest_scrape(answered):
    collect, _ = await answered()
    entries = [series("up", [(107.0, "1")]), series(QUEUE, [(107.0, "9")])]
    for entry in entries:
        entry["metric"]["job"] = "second"

    found = await collect(matrix(UP, series(QUEUE, [(105.0, "4")]), *entries))

    assert [(scrape.at, scrape.samples[0].value) for scrape in found.values()] == [(107.0, 9.0)]


async def test_series_told_apart_only_by_an_unread_label_are_not_guessed_at(answered):
    collect, _ = await answered()

    found = await collect(matrix(UP, series(QUEUE, [(105.0, "4")], zone="1"), series(QUEUE, [(105.0, "5")], zone="2")))

    assert found["haproxy/10.0.0.3:9101"].samples == ()
    assert "1 series differ only in labels that are not read" in found["haproxy/10.0.0.3:9101"].errors[0]


async def test_a_known_instance_stays_known_after_all_its_series_expired(answered):
    collect, _ = await answered()
    await collect(matrix(UP, series(RUNNING, [(105.0, "1")])))

    idle = await collect(matrix(series("up", [(160.0, "1")])), now=161.0)
    down = await collect(matrix(series("up", [(170.0, "0")])), now=171.0)
    still = await collect(matrix(series("up", [(180.0, "1")], instance="other:1"), UP), now=181.0)

    assert [(s.source, s.ok, s.at, s.samples) for s in idle.values()] == [("ray/10.0.0.3:9101", True, 160.0, ())]
    assert [(s.source, s.ok, s.at) for s in down.values()] == [("ray/10.0.0.3:9101", False, 170.0)]
    assert list(still) == ["ray/10.0.0.3:9101"]


async def test_an_instance_that_prometheus_no_longer_scrapes_is_not_reported(answered):
    collect, _ = await answered()
    other = series("up", [(105.0, "1")], instance="b:1"), series(QUEUE, [(105.0, "1")], instance="b:1")
    await collect(matrix(UP, series(QUEUE, [(105.0, "1")]), *other))

    assert list(await collect(matrix(*other))) == ["haproxy/b:1"]


async def test_a_partial_answer_fails_what_it_lacks_and_marks_what_it_has(answered):
    collect, _ = await answered()
    ours = UP, series(QUEUE, [(105.0, "1")])
    other = series("up", [(105.0, "1")], instance="b:1"), series(QUEUE, [(105.0, "1")], instance="b:1")
    await collect(matrix(*ours, *other))

    for _ in range(2):
        found = await collect(matrix(*ours, warnings=["store b: context deadline exceeded"]), now=110.0)

        assert found["haproxy/10.0.0.3:9101"].ok
        assert found["haproxy/10.0.0.3:9101"].errors == ("store b: context deadline exceeded",)
        assert not found["haproxy/b:1"].ok
        assert found["haproxy/b:1"].errors == ("missing from a partial answer: store b: context deadline exceeded",)


async def test_an_answer_of_many_megabytes_is_read_in_time(answered):
    collect, _ = await answered()
    padding = {"otel_scope_name": "x" * 300}
    entries = [series(QUEUE, [(105.0, str(number))], proxy=f"p{number}", **padding) for number in range(12_000)]

    found = await collect(matrix(UP, *entries))

    scrape = found["haproxy/10.0.0.3:9101"]
    assert len(scrape.samples) == 12_000
    assert scrape.duration_s < 5


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param({"metric": {"__name__": QUEUE}, "values": [[105.0, "1"]]}, id="no-instance"),
        pytest.param(series(QUEUE, []), id="no-points"),
        pytest.param(series(QUEUE, [(105.0, "soon")]), id="not-a-number"),
        pytest.param(series(QUEUE, [(105.0, None)]), id="null"),
        pytest.param({"metric": {"__name__": QUEUE, "instance": "a:1"}, "histograms": []}, id="native-histogram"),
        pytest.param(series("ray_vllm_inter_token_latency_seconds_bucket", [(105.0, "1")]), id="bucket-without-bound"),
        pytest.param("x", id="not-an-object"),
        pytest.param({"metric": []}, id="labels-not-an-object"),
    ],
)
async def test_an_unreadable_series_is_left_out_and_counted(answered, entry):
    collect, _ = await answered()

    found = await collect(matrix(UP, series(QUEUE, [(105.0, "4")], proxy="good"), entry))

    scrape = found["haproxy/10.0.0.3:9101"]
    assert [sample.value for sample in scrape.samples] == [4.0]
    assert scrape.errors == ("1 series without an instance or a readable value",)


ERROR = {"status": "error", "errorType": "execution", "error": "query processing would load too many samples"}


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        pytest.param(ERROR, 422, "HTTP 422: execution: query processing would load too many samples", id="422"),
        pytest.param(ERROR, 200, "the query failed: execution: query processing", id="error-with-status-200"),
        pytest.param(b"slow down", 429, "HTTP 429: 'slow down'", id="429"),
        pytest.param(b"<html>no healthy upstream</html>", 503, "HTTP 503: '<html>no healthy", id="503"),
        pytest.param(b"", 401, "HTTP 401; check the token", id="401"),
        pytest.param(b"<html>Sign in</html>", 200, "not an answer of the Prometheus query API", id="html"),
        pytest.param(b'{"status": "success", "da', 200, "not an answer of the Prometheus query API", id="cut"),
        pytest.param(b"[" * 200_000, 200, "not an answer of the Prometheus query API", id="deep-json"),
        pytest.param([], 200, "not an answer of the Prometheus query API", id="list"),
        pytest.param(matrix() | {"data": {"resultType": "vector", "result": []}}, 200, "no matrix", id="vector"),
        pytest.param(matrix() | {"data": "x"}, 200, "no matrix", id="data-not-an-object"),
        pytest.param(b" " * 200_000, 200, "larger than 100000 bytes", id="huge"),
        pytest.param(matrix(), 200, "no sample of a catalogued metric in the last 30 s", id="empty"),
    ],
)
async def test_a_failed_query_fails_every_known_source(answered, answer, status, error):
    collect, _ = await answered(max_bytes=100_000 if error.startswith("larger") else 1_000_000)
    unknown = await collect(answer, status=status, now=90.0)
    await collect(matrix(UP, series(QUEUE, [(105.0, "4")]), series(RUNNING, [(105.0, "1")])))

    known = await collect(answer, status=status, now=111.0)

    [only] = unknown.values()
    assert (only.ok, only.at, only.source.split("/")[0]) == (False, 90.0, "prometheus")
    assert error in only.errors[0]
    assert [(s.source, s.ok, s.at) for s in known.values()] == [
        ("haproxy/10.0.0.3:9101", False, 111.0),
        ("ray/10.0.0.3:9101", False, 111.0),
    ]
    assert all(error in scrape.errors[0] for scrape in known.values())


async def test_an_unreachable_or_hanging_server_is_a_failed_scrape(collector, refused, serve_raw):
    hanging = await serve_raw([], then_hang=True)

    [unreachable] = await collector(refused).collect(1.0)
    [late] = await collector(hanging, timeout_s=0.2).collect(1.0)

    assert "Connect" in unreachable.errors[0]
    assert "no complete answer within 0.2 s" in late.errors[0]


def test_a_server_address_that_is_no_url_is_refused():
    with pytest.raises(BadInputError, match="expected a URL like"):
        PrometheusApi(base_url="prometheus:9090", session=None)


@pytest.mark.stack
@needs_prometheus
@pytest.mark.parametrize("part_bytes", [16_000_000, 1], ids=["with-one-query", "in-parts"])
async def test_through_prometheus_everything_looks_as_if_scraped_directly(  # noqa: PLR0917
    prometheus, collector, session, clock, serve_page, capture, part_bytes
):
    ray = await serve_page(capture("ray_8080_llmd_loaded"), port=prometheus.ray_port)
    haproxy = await serve_page(capture("haproxy_9101_llmd_loaded"), port=prometheus.haproxy_port)
    direct = [
        *await RayAgentsCollector(discovery=StaticDiscovery([ray]), session=session, clock=clock).collect(0),
        *await HAProxyCollector(urls=[haproxy], session=session, clock=clock).collect(0),
    ]
    before = clock.now()

    scrapes = await until(
        collector(prometheus.url, part_bytes=part_bytes),
        lambda found: len(found) == 2 and all(one.ok and one.at >= before for one in found.values()),
    )

    for expected in direct:
        seen = scrapes[expected.source]
        assert seen.kind is expected.kind
        assert seen.errors == ()
        assert sorted(seen.samples, key=repr) == sorted(without_added_up(expected.samples), key=repr)
        assert before <= seen.at <= clock.now()


@pytest.mark.stack
@needs_prometheus
async def test_an_expired_gauge_is_absent_at_once_and_a_target_that_is_down_has_failed(
    prometheus, collector, serve, capture
):
    page = capture("ray_8080_llmd_loaded")
    without = b"".join(line for line in page.splitlines(keepends=True) if RUNNING.encode() not in line)
    answers = {"now": web.Response}

    async def agent(_request):
        return answers["now"]()

    answers["now"] = lambda: web.Response(body=page)
    source = f"ray/{address(await serve(agent, port=prometheus.ray_port))}"
    subject = collector(prometheus.url)
    shown = await until(subject, lambda found: source in found and RUNNING in names(found[source]))

    answers["now"] = lambda: web.Response(body=without)
    idle = await until(subject, lambda found: found[source].ok and RUNNING not in names(found[source]))
    answers["now"] = lambda: web.Response(status=500)
    down = await until(subject, lambda found: not found[source].ok)

    assert names(idle[source]) == names(shown[source]) - {RUNNING}
    assert down[source].errors == ("Prometheus could not scrape it (up is 0)",)
    assert down[source].samples == ()
    assert shown[source].at < idle[source].at < down[source].at


@pytest.mark.stack
@needs_prometheus
async def test_a_real_server_that_refuses_the_query_is_quoted(prometheus, collector):
    scrapes = await until(
        collector(prometheus.url, matchers="cluster=oops"),
        lambda found: "HTTP 400" in next(iter(found.values())).errors[0],
    )

    [scrape] = scrapes.values()
    assert (scrape.source, scrape.ok) == (f"prometheus/{address(prometheus.url)}", False)
    assert "HTTP 400: bad_data: " in scrape.errors[0]
