"""A simulated fleet as its observers see it, over real HTTP: Ray metrics pages, HAProxy's, and Serve's REST state.

The text is a recorded page of a real cluster, one replica's lines repeated for every replica under other names, with
counters that grow. Each node answers on a loopback address of its own (127.1.x.y), as every node has its own agent.
A replica's lines are a template made once, so that serving a large fleet takes little of the machine that is measured.

    python -m benchmarks.fleet_server --deployments 200 --replicas 1000 --nodes 100 --port 8090
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from controller.catalog.scraped import BY_SAMPLE_NAME
from controller.clock import SystemClock

CAPTURES = Path(__file__).parent.parent / "tests" / "data" / "captures"
_RECORDED = {"app": "llmd", "deployment": "LLMServer:tiny", "replica": "wezrga03"}
_WORKER = "56f77a89ebe4ac99eeb0432ad4a118362e0c7973f588667985fceab9"
_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\}) (\S+)$")
_ROUTE = re.compile(r'route="/d([^"]*)"')
_ASKED = frozenset({"/v1/chat/completions", "/v1/models", "/health"})
"""Routes that clients and health checks ask for; on the recorded page every route had been tried by hand."""
CLOCK = SystemClock()
_PER_S = 3.0
_START_S = 60.0


@dataclass(frozen=True)
class Shape:
    """How large the fleet is. With ``catalogued_only`` pages hold only series that Foreserve reads."""

    deployments: int
    replicas: int
    nodes: int
    port: int
    catalogued_only: bool


class Fleet:
    """Deployments ``app-N``, whose replicas are spread over nodes round robin."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._began = CLOCK.now()
        page = gzip.decompress((CAPTURES / "ray_8080_llmd_loaded.prom.gz").read_bytes()).decode()
        self._comments = "\n".join(line for line in page.splitlines() if line.startswith("# TYPE ray_"))
        self._lines = list(self._template(page.splitlines()))
        haproxy = gzip.decompress((CAPTURES / "haproxy_9101_llmd_loaded.prom.gz").read_bytes()).decode()
        self._backend = [line for line in haproxy.splitlines() if 'proxy="http-llmd"' in line and "server=" not in line]
        self._process = [line for line in haproxy.splitlines() if line.startswith("haproxy_process")]
        self._application = json.loads((CAPTURES / "applications_llmd_loaded.json").read_bytes())["applications"][
            "llmd"
        ]
        self._answer = json.loads((CAPTURES / "applications_llmd_loaded.json").read_bytes())
        each, more = divmod(shape.replicas, shape.deployments)
        self.targets = {f"app-{number}": each + (number < more) for number in range(shape.deployments)}
        self._created: dict[tuple[str, int], float] = {}
        self._templates: dict[str, str] = {}
        self._numbers: tuple[float, tuple[str, ...]] = (-1.0, ())
        self._placed: dict[int, list[tuple[str, int]]] = {}
        self._place()
        self.writes = 0

    def _place(self) -> None:
        self._placed = {}
        for app, number, node in self.replicas():
            self._placed.setdefault(node, []).append((app, number))

    def _template(self, lines: list[str]) -> Iterator[tuple[str, str, float, bool]]:
        for line in lines:
            match = _LINE.match(line)
            if match is None or _RECORDED["replica"] not in line:
                continue
            name, labels, value = match.groups()
            if self.shape.catalogued_only and name not in BY_SAMPLE_NAME:
                continue
            route = _ROUTE.search(labels)
            if route and route[1] not in _ASKED:
                continue
            yield name, labels, float(value), name.endswith(("_total", "_count", "_sum", "_bucket"))

    def replicas(self) -> Iterator[tuple[str, int, int]]:
        """Application, number of the replica, and its node."""
        place = 0
        for app, target in self.targets.items():
            for number in range(target):
                yield app, number, place % self.shape.nodes
                place += 1

    def page(self, node: int) -> bytes:
        """One node's metrics page."""
        values = self._values()
        parts = [self._comments, "\n"]
        for app, number in self._placed.get(node, ()):
            if self._age(app, number) >= _START_S:
                parts.append(self._text(app, number) % values)
        return "".join(parts).encode()

    def _values(self) -> tuple[str, ...]:
        """One value for each line of a replica, the same for all replicas, renewed every second."""
        grown = CLOCK.now() - self._began
        if grown - self._numbers[0] > 1.0 or not self._numbers[1]:
            shown = (value + grown * _PER_S if counts else 2.0 * (value >= 0) for _, _, value, counts in self._lines)
            self._numbers = grown, tuple(map(str, shown))
        return self._numbers[1]

    def _text(self, app: str, number: int) -> str:
        name = f"{app}-{number}"
        if name not in self._templates:
            lines = []
            for family, labels, _, _ in self._lines:
                renamed = labels.replace(_WORKER, f"w-{name}").replace(_RECORDED["replica"], name)
                renamed = renamed.replace('application="llmd"', f'application="{app}"').replace("%", "%%")
                lines.append(f"{family}{renamed} %s\n")
            self._templates[name] = "".join(lines)
        return self._templates[name]

    def haproxy(self) -> bytes:
        """The front door's page."""
        grown = (CLOCK.now() - self._began) * _PER_S
        parts = list(self._process)
        for app in self.targets:
            for line in self._backend:
                name, value = line.replace("http-llmd", f"http-{app}").rsplit(" ", 1)
                parts.append(f"{name} {float(value) + grown if '_total' in line else 4}")
        return ("\n".join(parts) + "\n").encode()

    def applications(self) -> dict[str, Any]:
        """Serve's REST state."""
        now = CLOCK.now()
        shown: dict[str, Any] = {}
        nodes = {(app, number): node for app, number, node in self.replicas()}
        for app, target in self.targets.items():
            one = copy.deepcopy(self._application)
            one["name"], one["route_prefix"] = app, f"/{app}"
            deployment = one["deployments"][_RECORDED["deployment"]]
            one["deployments"] = {_RECORDED["deployment"]: deployment}
            (replica,) = deployment["replicas"]
            deployment["target_num_replicas"] = target
            deployment["replicas"] = [
                replica
                | {
                    "replica_id": f"{app}-{number}",
                    "node_id": f"node-{nodes[app, number]}",
                    "node_ip": address(nodes[app, number]),
                    "start_time_s": now - self._age(app, number),
                    "state": "RUNNING" if self._age(app, number) >= _START_S else "STARTING",
                }
                for number in range(target)
            ]
            shown[app] = one
        return self._answer | {"applications": shown}

    def scale(self, app: str, target: int) -> None:
        """Set a target: replicas start at once, and run after a minute."""
        for number in range(self.targets[app], target):
            self._created[app, number] = CLOCK.now()
        self.targets[app] = target
        self._place()
        self.writes += 1

    def _age(self, app: str, number: int) -> float:
        return CLOCK.now() - self._created.get((app, number), self._began - 600.0)


def address(node: int) -> str:
    """Loopback address of a node."""
    return f"127.1.{node // 250}.{node % 250 + 1}"


def application(fleet: Fleet) -> web.Application:
    """All that is served, told apart by the address that was asked."""
    nodes = {address(node): node for node in range(fleet.shape.nodes)}

    async def page(request: web.Request) -> web.Response:
        host = (request.host or "").split(":")[0]
        body = fleet.page(nodes[host]) if host in nodes else fleet.haproxy()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def applications(_: web.Request) -> web.Response:
        return web.json_response(fleet.applications())

    async def scale(request: web.Request) -> web.Response:
        fleet.scale(request.match_info["app"], int((await request.json())["target_num_replicas"]))
        return web.json_response({"message": "Scaling request received."})

    app = web.Application()
    app.router.add_get("/metrics", page)
    app.router.add_get("/api/serve/applications/", applications)
    app.router.add_post("/api/v1/applications/{app}/deployments/{deployment}/scale", scale)
    return app


async def serve(fleet: Fleet) -> None:
    """Serve until cancelled."""
    runner = web.AppRunner(application(fleet), access_log=None)
    await runner.setup()
    for host in ("127.0.0.1", *(address(node) for node in range(fleet.shape.nodes))):
        await web.TCPSite(runner, host, fleet.shape.port).start()
    print(f"serving {fleet.shape}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve a fleet; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("deployments", 200), ("replicas", 1000), ("nodes", 100), ("port", 8090)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--catalogued-only", action="store_true", help="leave out series that Foreserve does not read")
    given = parser.parse_args()
    asyncio.run(serve(Fleet(Shape(**vars(given)))))


if __name__ == "__main__":
    main()
