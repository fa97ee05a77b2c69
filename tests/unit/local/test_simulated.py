"""What is asked for before anything is made on a cluster."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import BadInputError
from controller.local.simulated import run_simulated
from controller.local.simulated_options import SimulatedOptions
from controller.local.views import PlainView

ROOT = Path(__file__).parents[3]
OPTIONS = SimulatedOptions(policy=ROOT / "manifests" / "policies" / "simulated.yaml")


def test_without_a_cluster_that_was_named_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ~/.kube/config names may be in production."""
    monkeypatch.delenv("KUBECONFIG", raising=False)

    with pytest.raises(BadInputError, match=r"KUBECONFIG is not set.* kind create cluster"):
        run_simulated(OPTIONS, view=PlainView())


def test_a_policy_without_a_cluster_and_a_port_that_is_taken_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(BadInputError, match="no cluster section"):
        run_simulated(replace(OPTIONS, policy=ROOT / "manifests" / "policies" / "local.yaml"), view=PlainView())

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInputError, match=f"port {port} for the controller is taken"):
            run_simulated(replace(OPTIONS, port=port), view=PlainView())
