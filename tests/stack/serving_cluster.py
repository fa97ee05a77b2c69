"""Ray with Serve and HAProxy, and nothing else, for applications of a test's own."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.clock import SystemClock
from controller.local import prometheus, ray_cluster
from controller.local.calls import request, wait_for
from controller.local.layout import Layout, clean_up, create
from controller.local.ports import Ports, claim
from tests.stack.patience import awaited

CLOCK = SystemClock()
_LEAN = Path(__file__).parent / "lean"


@dataclass
class ServingCluster:
    """One running cluster. ``put`` replaces everything that is deployed."""

    layout: Layout
    ports: Ports
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.openai}"

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports.dashboard}"

    def controller_env(self, folder: Path) -> dict[str, str]:
        """Return the environment of a controller of this cluster: ``policy.yaml`` and its store are in ``folder``."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESERVE_")}
        return inherited | {
            "RAY_AUTH_TOKEN": self.token,
            "FORESERVE_POLICY": str(folder / "policy.yaml"),
            "FORESERVE_SERVE_URL": self.dashboard,
            "FORESERVE_RAY_SD_FILE": str(self.layout.ray / prometheus.SERVICE_DISCOVERY),
            "FORESERVE_HAPROXY_URLS": f"http://127.0.0.1:{self.ports.haproxy_metrics}",
            "FORESERVE_STORE": str(folder / "store.db"),
            "FORESERVE_PORT": str(self.ports.controller),
        }

    def put(self, applications: Sequence[dict[str, Any]], *, within_s: float = 120) -> None:
        """Deploy exactly these, and wait until they run and are reached."""
        body = {
            "proxy_location": "EveryNode",
            "http_options": {"host": "127.0.0.1", "port": self.ports.openai},
            "applications": list(applications),
        }
        request(f"{self.dashboard}/api/serve/applications/", method="PUT", body=body, token=self.token, timeout_s=90)
        self.wait(lambda: self._running([one["name"] for one in applications]), within_s, "the applications run")
        routes = {one.get("route_prefix", "/") for one in applications}
        self.wait(lambda: set(json.loads(request(f"{self.url}/-/routes"))) == routes, 60, "HAProxy knows them")
        self.wait(lambda: bool(request(f"{self.url}/-/ready")), 60, "each has a live replica")

    def applications(self) -> dict[str, Any]:
        answer = json.loads(request(f"{self.dashboard}/api/serve/applications/", token=self.token))
        return dict(answer["applications"])

    def deployment(self, application: str, deployment: str) -> dict[str, Any]:
        return dict(self.applications()[application]["deployments"][deployment])

    def replicas(self, application: str, deployment: str) -> dict[str, str]:
        """Return the state of each replica, by its id; those that leave are among them until they have left."""
        replicas = self.deployment(application, deployment)["replicas"]
        return {replica["replica_id"]: replica["state"] for replica in replicas}

    def ready(self, application: str, deployment: str) -> int:
        return list(self.replicas(application, deployment).values()).count("RUNNING")

    def scale(self, application: str, deployment: str, replicas: int) -> None:
        name = deployment.replace(":", "%3A")
        request(
            f"{self.dashboard}/api/v1/applications/{application}/deployments/{name}/scale",
            method="POST",
            body={"target_num_replicas": replicas},
            token=self.token,
        )

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return json.loads(request(f"{self.url}{path}", method="POST", body=body, timeout_s=60))

    def wait(self, condition: Callable[[], bool], within_s: float, what: str) -> float:
        """Wait until ``condition`` holds; returns the seconds it took."""
        return awaited(condition, within_s, what)

    def _running(self, names: list[str]) -> bool:
        found = self.applications()
        for name in names:
            state = found.get(name, {})
            assert state.get("status") != "DEPLOY_FAILED", f"{name}: {state.get('message')} {_messages(state)}"
            if state.get("status") != "RUNNING":
                return False
            for deployment in state["deployments"].values():
                states = [replica["state"] for replica in deployment["replicas"]]
                if states != ["RUNNING"] * deployment["target_num_replicas"]:
                    return False
        return set(found) == set(names)


@contextmanager
def serving_cluster(logs: Path, ports: Ports, *, lean: bool = False, **environment: str) -> Iterator[ServingCluster]:
    """Start Ray; nothing of it is left afterwards. ``lean``: for simulated engines only, which start sooner then."""
    ports = claim(ports)
    layout = create(logs, now=CLOCK.now())
    token = secrets.token_hex(32)
    env = ray_cluster.ray_environment(os.environ, layout, ports, token) | environment
    env["PYTHONPATH"] = os.pathsep.join([*([str(_LEAN)] if lean else []), str(Path(__file__).parents[2])])
    child = ray_cluster.start(layout, ports, env)
    try:
        cluster = ServingCluster(layout, ports, token)
        wait_for(
            lambda: ray_cluster.require_up(cluster.dashboard, token),
            clock=CLOCK,
            pause=time.sleep,
            timeout_s=90,
            what="the Ray dashboard",
        )
        yield cluster
    finally:
        segments = layout.run.segments()
        child.stop(15)
        clean_up(layout.run, began=CLOCK.now(), patience_s=4, segments=segments)


def _messages(state: dict[str, Any]) -> str:
    return " ".join(str(one.get("message", ""))[-800:] for one in state.get("deployments", {}).values())
