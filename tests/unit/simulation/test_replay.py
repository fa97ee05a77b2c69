"""foreserve replay from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.cli.main import app
from controller.errors import BadInputError
from tests.simulated import steady

ROOT = Path(__file__).parents[3]
ROW_KEYS = {
    "name",
    "gpu_hours",
    "oracle_ratio",
    "slo_attainment",
    "ttft_attainment",
    "tpot_attainment",
    "ttft_p50_s",
    "ttft_p99_s",
    "unserved",
    "scale_ups",
    "scale_downs",
    "waste",
}


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    trace = folder / "trace.csv"
    demand = steady(6, 600)
    rows = zip(demand.arrival_s, demand.prompt_tokens, demand.output_tokens, strict=True)
    lines = [f"{at:.3f},{prompt},{output}" for at, prompt, output in rows]
    trace.write_text("\n".join(["t_s,prompt_tokens,output_tokens", *lines]) + "\n")
    arguments = ["--trace", trace, "--cluster", ROOT / "manifests/clusters/llama-3.1-8b-rtx4090.yaml"]
    arguments += ["--policy", ROOT / "manifests/policies/minimal.yaml", "--against", "hpa:12,static"]
    arguments += ["--seeds", 2, "--scale", 2, "--out", folder / "out"]
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return folder, result


def test_the_report_has_a_row_for_each_policy_with_the_keys_others_rely_on(replayed):
    folder, _ = replayed
    report = json.loads((folder / "out" / "report.json").read_text())
    rows = {row["name"]: row for row in report["policies"]}
    assert list(rows)[:3] == ["oracle", "foreserve", "hpa-12"]
    assert all(row.keys() >= ROW_KEYS for row in rows.values())
    assert rows["oracle"]["oracle_ratio"] == 1.0
    assert rows["oracle"]["slo_attainment"] >= 0.99
    assert len(rows["foreserve"]["seeds"]) == 2
    assert report["requests"] == 2 * 3600


def test_the_table_has_a_line_for_each_policy(replayed):
    _, result = replayed
    for name in ("policy", "oracle", "foreserve", "hpa-12", "static-"):
        assert any(line.startswith(name) for line in result.stdout.splitlines())


def test_the_page_needs_nothing_from_outside(replayed):
    folder, _ = replayed
    page = (folder / "out" / "report.html").read_text()
    assert "foreserve" in page
    assert "src=" not in page.split("<script")[0]
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_trace_that_is_not_there_is_told():
    result = CliRunner().invoke(app, ["replay", "--trace", "none.csv", "--cluster", "none.yaml"])
    assert isinstance(result.exception, BadInputError)
