from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from controller.errors import BadInputError
from controller.local import prometheus
from controller.local.belongings import Run
from controller.local.layout import Layout
from controller.local.ports import Ports
from controller.policy.load import load_policy

LAYOUT = Layout(run=Run(run_id="00000000", scratch=Path("/tmp/foreserve-00000000")), root=Path("/runs/one"))


def test_everything_is_scraped_from_where_it_listens() -> None:
    document = json.loads(prometheus.configuration(LAYOUT, Ports(controller=9901, haproxy_metrics=9102)))

    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    assert jobs["ray"]["file_sd_configs"][0]["files"] == [
        "/tmp/foreserve-00000000/ray/prom_metrics_service_discovery.json"
    ]
    assert jobs["haproxy"]["static_configs"] == [{"targets": ["127.0.0.1:9102"]}]
    assert jobs["foreserve"]["static_configs"] == [{"targets": ["127.0.0.1:9901"]}]


def test_the_rules_follow_the_policy_and_keep_pace_with_the_scrapes(tmp_path: Path) -> None:
    layout = Layout(run=LAYOUT.run, root=tmp_path)
    policy = load_policy(Path(__file__).parents[3] / "manifests/policies/local.yaml").policy
    layout.rules.write_text(prometheus.rules(policy))
    (tmp_path / "prometheus.json").write_text(prometheus.configuration(layout, Ports()))

    checked = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.json"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout
    assert {group["interval"] for group in YAML(typ="safe").load(layout.rules)["groups"]} == {"2s", "10s"}


def test_a_missing_binary_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BadInputError, match=r"apt-get install prometheus.*--no-prometheus"):
        prometheus.find_binary()
