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
    arguments += ["--seeds", 2, "--scale", 2, "--startup-sweep", "240,30", "--out", folder / "out"]
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


def test_a_sweep_has_every_policy_at_every_start_up_time_against_the_oracle_of_that_time(replayed):
    folder, result = replayed
    report = json.loads((folder / "out" / "report.json").read_text())
    assert [point["startup_s"] for point in report["sweep"]] == [30.0, 240.0]
    names = [row["name"] for row in report["policies"]]
    for point in report["sweep"]:
        assert [row["name"] for row in point["policies"]] == names
        assert point["policies"][0]["oracle_ratio"] == 1.0
    slow = {row["name"]: row["gpu_hours"] for row in report["sweep"][1]["policies"]}
    quick = {row["name"]: row["gpu_hours"] for row in report["sweep"][0]["policies"]}
    assert slow["oracle"] >= quick["oracle"]
    assert "30 s" in result.stdout.split("x oracle, and both kept")[1]


def test_charts_are_in_the_page_and_not_in_the_json(replayed):
    folder, _ = replayed
    report = json.loads((folder / "out" / "report.json").read_text())
    assert not {"samples", "timeline"} & report["policies"][0].keys()
    page = (folder / "out" / "report.html").read_text()
    data = json.loads(page.split('id="report">')[1].split("</script>")[0])
    own = next(policy for policy in data["policies"] if policy["name"] == "foreserve")
    assert own["expected"]["signal"] == "work"  # in most ticks: it is learned within minutes
    assert len(own["expected"]["p90"]) == len(own["at"]) == len(own["waiting"])
    windows = own["windows"]
    assert sum(windows["requests"]) == report["requests"]
    assert windows["gpu_hours"] == sorted(windows["gpu_hours"])
    first_seed = next(row for row in report["policies"] if row["name"] == "foreserve")["seeds"][0]
    assert windows["gpu_hours"][-1] == pytest.approx(first_seed["gpu_hours"], rel=1e-3)
    assert len(page) < 400_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --trace FILE, --from-history STORE and --prometheus URL"),
        (["--trace", "a.csv", "--prometheus", "http://x"], "give one of"),
        (["--from-history", "none.db"], "there is no such store"),
        (["--from-history", "none.db", "--history", "h.csv"], "--history goes with --trace"),
        (["--prometheus", "http://127.0.0.1:1"], "needs --deployment"),
        (["--prometheus", "nowhere", "--deployment", "a/b"], "'nowhere' is not an endpoint"),
        (
            ["--prometheus", "http://x", "--deployment", "a/b", "--prometheus-token-file", "no"],
            "cannot be read as a token",
        ),
        (["--trace", "a.csv", "--startup-sweep", "60,x"], "--startup-sweep '60,x': expected seconds"),
        (["--trace", "a.csv", "--last", "1w"], "--last '1w': expected a time such as 90m"),
        (["--trace", "a.csv", "--deployment", "chat"], "--deployment: 'chat' does not name a deployment"),
    ],
)
def test_a_source_that_makes_no_sense_is_told(arguments, said):
    cluster = ROOT / "manifests/clusters/llama-3.1-8b-rtx4090.yaml"
    result = CliRunner().invoke(app, ["replay", "--cluster", str(cluster), *arguments])
    assert isinstance(result.exception, BadInputError)
    assert said in str(result.exception)


def test_the_page_needs_nothing_from_outside(replayed):
    folder, _ = replayed
    page = (folder / "out" / "report.html").read_text()
    assert "foreserve" in page
    assert "src=" not in page.split("<script")[0]
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_a_trace_that_is_not_there_is_told():
    result = CliRunner().invoke(app, ["replay", "--trace", "none.csv", "--cluster", "none.yaml"])
    assert isinstance(result.exception, BadInputError)
