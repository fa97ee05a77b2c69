"""foreserve policy check and schema, as a user calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.cli.exit_codes import ExitCode
from controller.cli.policy import policy_app

GOOD = """\
version: 1
deployments:
  - application: chat
    deployment: tiny
    limits: {max_replicas: 4}
    capacity: {target_ongoing_requests: 8}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace("max_replicas", "max_replcas"), encoding="utf-8")
    return path


def test_a_right_file_is_ok_with_its_size_and_version(good: Path) -> None:
    result = CliRunner().invoke(policy_app, ["check", str(good)])

    assert result.exit_code == ExitCode.OK
    assert result.stdout.startswith(f"{good}: ok (1 deployment, version ")


def test_all_files_are_checked_and_one_problem_is_bad_input(good: Path, bad: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"

    result = CliRunner().invoke(policy_app, ["check", str(bad), str(missing), str(good)])

    assert result.exit_code == ExitCode.BAD_INPUT
    assert f"{bad}:5:14: deployments[0].limits.max_replcas: unknown key; did you mean max_replicas?" in result.output
    assert f"{missing}: cannot be read" in result.output
    assert f"{good}: ok" in result.output


def test_no_file_is_a_usage_error() -> None:
    assert CliRunner().invoke(policy_app, ["check"]).exit_code == ExitCode.BAD_INPUT


def test_the_schema_is_json() -> None:
    result = CliRunner().invoke(policy_app, ["schema"])

    assert json.loads(result.stdout)["title"] == "Policy"


def test_help_has_examples() -> None:
    for arguments in (["--help"], ["check", "--help"], ["schema", "--help"]):
        assert "  foreserve policy " in CliRunner().invoke(policy_app, arguments).stdout
