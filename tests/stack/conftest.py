from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.live.startup import StepStatus
from controller.local import ray_cluster
from controller.local.belongings import SHARED_MEMORY
from controller.local.ports import Ports, is_free
from controller.local.stack import LocalStack, StackOptions, missing_packages
from controller.local.steps import Steps
from tests.stack.alerting import RECEIVER, WEBHOOKS
from tests.stack.leftovers import left_over
from tests.stack.observer import MEASURED, Observer
from tests.stack.relay import Relay

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "manifests/policies/local.yaml"
MODEL = ROOT / ".foreserve/models/tiny"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _what_is_missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(1200))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def _what_is_missing() -> str | None:
    packages = missing_packages()
    if packages:
        return f"the local extra is not installed ({', '.join(packages)}): run make setup"
    if shutil.which("prometheus") is None:
        return "prometheus is not installed: run make setup"
    return None


def free_ports() -> Ports:
    """Promised ports of its own, so that a stack that runs already is not in the way.

    They are below those that the kernel gives to whoever asks for any, so that nobody is given one of them meanwhile.
    """
    free = (port for port in random.sample(range(12_000, 30_000), 1000) if is_free(port))
    openai, controller, prometheus, dashboard = itertools.islice(free, 4)
    return Ports(openai=openai, controller=controller, prometheus=prometheus, dashboard=dashboard)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in MEASURED:
        terminalreporter.write_line(f"stack: {line}")


class Noted:
    def changed(self, step: StepStatus) -> None:
        if step.state != "running":
            MEASURED.append(f"{step.name}: {step.state} after {step.seconds:.1f} s {step.detail}")


@pytest.fixture(scope="module")
def haproxy() -> Iterator[Relay]:
    """Stands between the controller and HAProxy's metrics."""
    relay = Relay()
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def alertmanager_token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Alertmanager shows to the controller."""
    token = tmp_path_factory.mktemp("secrets") / "alertmanager-token"
    token.write_text("a-token-of-alertmanager\n")
    return token


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory, alertmanager_token: Path) -> Path:
    """The policy of ``foreserve up``, and a receiver of alerts."""
    target = f"{ray_cluster.APPLICATION}/{ray_cluster.DEPLOYMENT}"
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY.read_text() + WEBHOOKS.format(receiver=RECEIVER, token=alertmanager_token, target=target))
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, haproxy: Relay, policy: Path) -> Iterator[LocalStack]:
    """The real stack, started once; nothing of it may be left at the end."""
    segments_before = set(SHARED_MEMORY.iterdir())
    options = StackOptions(
        policy=policy,
        runs=tmp_path_factory.mktemp("runs"),
        model=MODEL,
        ports=free_ports(),
        haproxy_metrics_url=haproxy.url,
        on_ports=lambda ports: setattr(haproxy, "port", ports.haproxy_metrics),
    )
    stack = LocalStack(options, clock=SystemClock(), pause=time.sleep)
    try:
        stack.start(Steps(options.step_names(), clock=SystemClock(), display=Noted()))
        yield stack
    finally:
        remains = stack.stop(lambda: False)
    assert remains == []
    assert stack.files.run.processes() == []
    assert not stack.files.run.scratch.exists()
    assert left_over(segments_before) == set()


@pytest.fixture(scope="module")
def observer(stack: LocalStack) -> Observer:
    return Observer(stack)
