"""What manifests/grafana installs are the committed dashboards."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dashboards.bundle import FOLDER
from tests.panels import boards

ROOT = Path(__file__).parents[3]


def test_kustomize_makes_a_config_map_of_each_dashboard() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")

    built = subprocess.run(
        [kubectl, "kustomize", ROOT / "manifests/grafana"], capture_output=True, text=True, check=True
    ).stdout

    maps = list(YAML(typ="safe").load_all(built))
    assert {one["metadata"]["name"]: json.loads(next(iter(one["data"].values()))) for one in maps} == boards()
    assert {one["metadata"]["labels"]["grafana_dashboard"] for one in maps} == {"1"}
    assert {one["metadata"]["annotations"]["grafana_folder"] for one in maps} == {FOLDER}


def test_the_provider_reads_the_folder_that_docs_export_to() -> None:
    provider = YAML(typ="safe").load((ROOT / "manifests/grafana/provisioning/dashboards/foreserve.yaml").read_text())

    (only,) = provider["providers"]
    assert only["folder"] == FOLDER
    assert f"--out {only['options']['path']}\n" in (ROOT / "docs/dashboards.md").read_text()
