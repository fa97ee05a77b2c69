"""promtool accepts the rules and passes the tests of every alert: silent before, firing after, resolved."""

import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from alerts.export import groups
from alerts.rule import Alert
from controller.cli.main import app
from controller.policy.load import load_policy
from tests.promql import problems

ROOT = Path(__file__).parents[3]
TESTS = sorted((ROOT / "alerts/tests").glob("*.yaml"))
COMMANDS = [
    (path.stem, line)
    for path in sorted((ROOT / "docs/runbooks").glob("*.md"))
    for block in re.findall(r"```\n(.*?)```", path.read_text(), re.DOTALL)
    for line in block.splitlines()
]
QUERIES = [(book, shlex.split(line)[-1]) for book, line in COMMANDS if line.startswith("promtool query instant")]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    assert tool, "promtool is missing; requirements/setup.sh installs it with the package prometheus"
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


def test_the_rules_are_right() -> None:
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", ROOT / "alerts/generated/foreserve.rules.yaml")

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.stack
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    result = promtool("test", "rules", path)

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_is_seen_silent_then_firing_then_resolved() -> None:
    """Each (alert, severity) has a test with at least three looks: nothing, exactly it, nothing."""
    seen: dict[tuple[str, str], bool] = defaultdict(bool)
    for path in TESTS:
        for test in YAML(typ="safe").load(path.read_text())["tests"]:
            looks = [look for look in test["promql_expr_test"] if str(look["expr"]).startswith("ALERTS")]
            fired = [bool(look["exp_samples"]) for look in sorted(looks, key=lambda look: _minutes(look["eval_time"]))]
            firing = [sample["labels"] for look in looks for sample in look["exp_samples"]]
            for labels in firing:
                name, severity = (re.search(rf'{label}="(\w+)"', labels)[1] for label in ("alertname", "severity"))
                seen[name, severity] |= not fired[0] and not fired[-1]

    policy = load_policy(ROOT / "manifests/policies/full.yaml").policy
    alerts = {
        (rule.name, rule.severity.value) for group in groups(policy) for rule in group.rules if isinstance(rule, Alert)
    }
    assert {key for key, whole in seen.items() if whole} == alerts


def test_runbooks_ask_for_what_the_catalogue_has() -> None:
    assert {f"{book}: {query}": found for book, query in QUERIES if (found := problems(query))} == {}


def test_prometheus_understands_every_query_of_the_runbooks(tmp_path: Path) -> None:
    rules = "\n".join(f"  - record: a:b{index}\n    expr: {query!r}" for index, (_, query) in enumerate(QUERIES))
    (tmp_path / "rules.yaml").write_text(f"groups:\n- name: runbooks\n  rules:\n{rules}\n".replace("\\'", "''"))

    result = promtool("check", "rules", tmp_path / "rules.yaml")

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("line", sorted({line for _, line in COMMANDS if line.startswith("foreserve ")}))
def test_a_runbook_calls_foreserve_as_it_is(line: str) -> None:
    command, name, arguments = typer.main.get_command(app), "foreserve", shlex.split(line)[1:]
    # A group may also be a command by itself.
    while hasattr(command, "commands") and not arguments[0].startswith("-"):
        name, *arguments = arguments
        command = command.get_command(typer.Context(command), name)

    parsed = command.make_context(name, list(arguments))

    assert not parsed.args
    assert not isinstance(command, typer.core.TyperGroup) or command.invoke_without_command


def _minutes(duration: str) -> int:
    return int(str(duration).removesuffix("m"))
