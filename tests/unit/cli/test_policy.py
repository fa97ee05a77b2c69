"""foreserve policy check and schema, as a user calls them."""

import json
import re
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


def test_announced_events_are_listed_with_when_they_happen_next(tmp_path: Path) -> None:
    path = tmp_path / "events.yaml"
    path.write_text(
        GOOD + "    events:\n"
        '      - {name: peak, cron: "0 8 * * *", timezone: Asia/Tokyo, duration_s: 3600, min_replicas: 2}\n'
        "      - {name: old, start: 2020-01-01T00:00:00, duration_s: 60, min_replicas: 2}\n"
        "      - {name: far, start: 2199-01-01T00:00:00, duration_s: 86400, min_replicas: 2}\n",
        encoding="utf-8",
    )

    _, peak, old, far = CliRunner().invoke(policy_app, ["check", str(path)]).stdout.splitlines()

    assert re.fullmatch(r"  chat/tiny: peak: (next|on since) \w{3} \d{4}-\d\d-\d\d 08:00 JST, for 60 min", peak)
    assert old == "  chat/tiny: old: over, it will not happen again"
    assert far == "  chat/tiny: far: next Tue 2199-01-01 00:00 UTC, for 24 h"


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
