from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.errors import BadInputError
from controller.local import prometheus
from controller.local.belongings import Run
from controller.local.layout import Layout
from controller.local.ports import Ports

LAYOUT = Layout(run=Run(run_id="00000000", scratch=Path("/tmp/foreserve-00000000")), root=Path("/runs/one"))


def test_everything_is_scraped_from_where_it_listens() -> None:
    document = json.loads(prometheus.configuration(LAYOUT, Ports(controller=9901, haproxy_metrics=9102)))

    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    assert jobs["ray"]["file_sd_configs"][0]["files"] == [
        "/tmp/foreserve-00000000/ray/prom_metrics_service_discovery.json"
    ]
    assert jobs["haproxy"]["static_configs"] == [{"targets": ["127.0.0.1:9102"]}]
    assert jobs["foreserve"]["static_configs"] == [{"targets": ["127.0.0.1:9901"]}]


def test_a_missing_binary_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BadInputError, match=r"apt-get install prometheus.*--no-prometheus"):
        prometheus.find_binary()
