"""What `foreserve up` says is worth opening."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.clock import SystemClock
from controller.local.belongings import Run
from controller.local.layout import Layout
from controller.local.stack import LocalStack, StackOptions


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    made = LocalStack(StackOptions(policy=tmp_path / "policy.yaml"), clock=SystemClock(), pause=lambda _: None)
    made.layout = Layout(run=Run(run_id="0", scratch=tmp_path), root=tmp_path)
    return made


def test_the_web_page_is_among_them(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORESERVE_GRAFANA_URL", raising=False)

    assert stack.links()["Web page"] == "http://127.0.0.1:9900"
    assert "Dashboards" not in stack.links()


def test_the_dashboards_are_where_grafana_is_configured(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_GRAFANA_URL", "https://grafana.example.com/")

    assert stack.links()["Dashboards"] == "https://grafana.example.com/d/foreserve-service"
