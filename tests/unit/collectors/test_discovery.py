"""Finding Ray's metrics agents: in Ray's file, from its dashboard, or given."""

from __future__ import annotations

import json

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from controller.clients.serve import ServeUnavailableError
from controller.clients.serve_answer import read_applications
from controller.collectors.discovery import (
    DashboardDiscovery,
    SdFileDiscovery,
    ServeProxyDiscovery,
    StaticDiscovery,
)
from controller.collectors.haproxy import HAProxyCollector
from controller.domain.serve import ServeState
from controller.errors import BadInputError, UnavailableError

AS_RAY_WRITES_IT = [
    {
        "labels": {"job": "ray"},
        "targets": ["192.0.2.2:8080", "192.0.2.3:8080", "192.0.2.2:44217", "192.0.2.2:44227"],
    }
]
NODES = ("http://192.0.2.2:8080", "http://192.0.2.3:8080")


async def test_the_file_gives_the_node_agents_without_autoscaler_and_dashboard(tmp_path):
    path = tmp_path / "sd.json"
    path.write_text(json.dumps(AS_RAY_WRITES_IT))

    assert await SdFileDiscovery(path).targets() == NODES


async def test_the_file_is_read_anew_each_time(tmp_path):
    path = tmp_path / "sd.json"
    path.write_text('[{"targets": ["192.0.2.2:8080"]}]')
    discovery = SdFileDiscovery(path)
    assert await discovery.targets() == NODES[:1]

    path.write_text(json.dumps(AS_RAY_WRITES_IT))

    assert await discovery.targets() == NODES


async def test_other_ports_of_autoscaler_and_dashboard_can_be_named(tmp_path):
    path = tmp_path / "sd.json"
    path.write_text('[{"targets": ["[2001:db8::1]:8080", "192.0.2.2:9999"]}]')

    assert await SdFileDiscovery(path, skipped_ports=frozenset({9999})).targets() == ("http://[2001:db8::1]:8080",)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param("", "not a service-discovery list", id="empty"),
        pytest.param('[{"targets": ["192.0.', "not a service-discovery list", id="cut"),
        pytest.param('{"error": "no"}', "not a service-discovery list", id="object"),
        pytest.param("[1]", "not a service-discovery list", id="numbers"),
        pytest.param('[{"labels": {}}]', "not a service-discovery list", id="no-targets"),
        pytest.param('[{"targets": [null]}]', "not a service-discovery list", id="null-target"),
        pytest.param('[{"targets": ["a:b:c"]}]', "not a service-discovery list", id="not-an-address"),
        pytest.param("[]", "lists no Ray node", id="no-group"),
        pytest.param('[{"targets": ["192.0.2.2:44227"]}]', "lists no Ray node", id="only-the-dashboard"),
    ],
)
async def test_a_file_that_is_not_right_is_unavailable_and_says_why(tmp_path, content, error):
    path = tmp_path / "sd.json"
    path.write_text(content)

    with pytest.raises(UnavailableError, match=error) as raised:
        await SdFileDiscovery(path).targets()

    assert str(path) in str(raised.value)


async def test_a_missing_file_is_unavailable_and_says_who_writes_it(tmp_path):
    with pytest.raises(UnavailableError, match="No such file or directory; Ray writes this file while it runs"):
        await SdFileDiscovery(tmp_path / "sd.json").targets()


async def test_the_dashboard_is_asked_with_the_token(serve, session):
    async def dashboard(request):
        if request.headers.get("Authorization") != "Bearer s3cret":
            return web.Response(status=401, text="Unauthorized")
        assert request.path == "/api/prometheus/sd"
        return web.json_response(AS_RAY_WRITES_IT)

    url = await serve(dashboard)

    assert await DashboardDiscovery(url + "/", session, "s3cret").targets() == NODES
    with pytest.raises(UnavailableError, match="HTTP 401: 'Unauthorized'; check the Ray token"):
        await DashboardDiscovery(url, session).targets()


async def test_a_dashboard_that_hangs_or_refuses_is_unavailable(serve_raw, refused, session):
    hanging = await serve_raw([], then_hang=True)

    with pytest.raises(UnavailableError, match=r"no complete answer within 0\.2 s"):
        await DashboardDiscovery(hanging, session, timeout_s=0.2).targets()
    with pytest.raises(UnavailableError, match="Connect"):
        await DashboardDiscovery(refused, session).targets()


async def test_a_static_list_is_given_back_and_must_hold_urls():
    assert await StaticDiscovery(["http://a:8080"]).targets() == ("http://a:8080",)
    with pytest.raises(BadInputError, match="'a:8080' is not an endpoint; expected a URL like http://"):
        StaticDiscovery(["a:8080"])


class _Serve:
    """Serve's account of where its proxies are; None: no answer."""

    def __init__(self, *proxies: str) -> None:
        self.proxies: tuple[str, ...] | None = proxies

    async def applications(self) -> ServeState:
        if self.proxies is None:
            msg = "Serve does not answer"
            raise ServeUnavailableError(msg)
        return ServeState(applications=(), proxies=self.proxies)


async def test_haproxy_is_looked_for_where_serve_has_a_proxy() -> None:
    found = await ServeProxyDiscovery(_Serve("10.0.0.3", "fd00::1"), port=9101).targets()

    assert found == ("http://10.0.0.3:9101", "http://[fd00::1]:9101")


async def test_while_serve_does_not_answer_the_known_haproxies_are_scraped_and_the_gap_is_told(
    serve_page, clock
) -> None:
    url = URL(await serve_page(b"# TYPE haproxy_backend_current_queue gauge\nhaproxy_backend_current_queue 1\n"))
    serve = _Serve(url.host)
    async with aiohttp.ClientSession() as session:
        discovery = ServeProxyDiscovery(serve, port=url.port)
        collector = HAProxyCollector(discovery=discovery, session=session, clock=clock)
        before = await collector.collect(1.0)
        serve.proxies = None
        after = await collector.collect(2.0)

    assert [scrape.ok for scrape in before] == [True]
    assert [(scrape.source, scrape.ok) for scrape in after] == [
        ("haproxy/discovery", False),
        (before[0].source, True),
    ]


def test_proxies_that_start_or_are_drained_are_not_looked_for() -> None:
    statuses = ("HEALTHY", "UNHEALTHY", "STARTING", "DRAINING", "DRAINED")
    proxies = {str(index): {"node_ip": f"10.0.0.{index}", "status": one} for index, one in enumerate(statuses)}
    answer = json.dumps({"applications": {}, "proxies": proxies}).encode()

    assert read_applications(answer).proxies == ("10.0.0.0", "10.0.0.1", "10.0.0.3")
