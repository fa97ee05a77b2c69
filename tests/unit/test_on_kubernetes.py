"""Kubernetes is used where policy and settings ask for it and it is there, and it is said where it is not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.domain.layer import Layer
from controller.errors import BadInputError
from controller.export.log import json_log
from controller.on_kubernetes import Surface, on_kubernetes
from controller.policy.load import LoadedPolicy
from controller.settings import Kubernetes, Settings
from tests.scenarios.cluster_world import cluster_policy
from tests.scenarios.world import FixedPolicy
from tests.scenarios.world import policy as plain_policy

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: ray}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
"""


def surface(*, cluster: bool = True, **settings: object) -> Surface:
    source = FixedPolicy(plain_policy())
    if cluster:
        source.current = LoadedPolicy(cluster_policy(), "0" * 12, Path("policy.yaml"))
    clock = SystemClock()
    return on_kubernetes(
        Settings(policy=Path("policy.yaml"), **settings),  # type: ignore[arg-type]
        source,
        clock=clock,
        log=json_log(io.StringIO(), clock),
    )


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))


@pytest.mark.usefixtures("nothing")
def test_without_kubernetes_replicas_are_scaled_alone_and_it_is_said() -> None:
    found = surface()

    assert found.parts.observer is None
    assert "nodes and workers are not planned" in found.notices[0]
    assert surface(cluster=False) == Surface()


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("asked", [{"kubernetes": Kubernetes.ON}, {"leader_election": True}])
def test_it_is_an_error_where_it_is_asked_for(asked: dict[str, object]) -> None:
    with pytest.raises(BadInputError):
        surface(**asked)


@pytest.mark.usefixtures("kubeconfig")
async def test_a_policy_with_a_cluster_gets_eyes_and_hands_and_an_election_where_asked() -> None:
    found = surface(leader_election=True)

    async with found.running():
        assert {layer: len(levers) for layer, levers in found.parts.levers.items()} == {Layer.NODE: 1, Layer.WORKER: 1}
        assert found.leadership is not None
        assert not found.leadership.may_act()
        assert found.hand_over is not None
        assert found.parts.observer is not None
        seen = await found.parts.observer.observe(0.0)

    assert seen.nodes is None
    assert seen.problems


@pytest.mark.usefixtures("kubeconfig")
def test_it_can_be_switched_off() -> None:
    assert surface(kubernetes=Kubernetes.OFF) == Surface()
