"""The metrics of the simulated deployments over HTTP: all of Ray's agents on one page, HAProxy's on another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from controller.domain.scrape import Sample
from controller.simulated_cloud.signals import Traffic

_HAPROXY = "/haproxy"


@dataclass
class MetricsPages:
    """Use as ``async with MetricsPages(traffic) as pages: ... pages.ray_url, pages.haproxy_url``."""

    traffic: Traffic
    ray_url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/metrics", self._ray)
        app.router.add_get(_HAPROXY, self._haproxy)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.ray_url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def haproxy_url(self) -> str:
        """Address of HAProxy's page."""
        return self.ray_url + _HAPROXY

    async def _ray(self, _: web.Request) -> web.Response:
        self.traffic.advance()
        return _page(self.traffic.ray())

    async def _haproxy(self, _: web.Request) -> web.Response:
        self.traffic.advance()
        return _page(self.traffic.haproxy())


def exposition(samples: Iterable[Sample]) -> str:
    """Write samples in the Prometheus text format."""
    return "".join(f"{sample.name}{_labels(sample)} {sample.value!r}\n" for sample in samples)


def _labels(sample: Sample) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _page(samples: Iterable[Sample]) -> web.Response:
    return web.Response(text=exposition(samples) or "# TYPE nothing untyped\n", content_type="text/plain")
