"""foreserve alerts export, as a person calls it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from controller.cli.exit_codes import ExitCode
from controller.cli.main import main

POLICY = Path(__file__).parents[3] / "manifests/policies/minimal.yaml"

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Invoke:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["foreserve", "alerts", "export", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return invoke


def test_standard_output_is_a_rule_file_that_names_its_policy(export: Invoke, tmp_path: Path) -> None:
    code, out, _ = export("--policy", str(POLICY))

    assert code == ExitCode.OK
    assert out.startswith("# Rules for policy version ")
    (tmp_path / "rules.yaml").write_text(out)
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yaml"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "name", "kind"),
    [
        ((), "foreserve.rules.yaml", None),
        (("--format", "prometheusrule"), "foreserve-prometheusrule.yaml", "PrometheusRule"),
        (("--format", "gke"), "foreserve-gke.yaml", "ClusterRules"),
        (("--format", "gke", "--namespace", "ray"), "foreserve-gke.yaml", "Rules"),
    ],
)
def test_a_folder_gets_one_file(
    export: Invoke, tmp_path: Path, arguments: tuple[str, ...], name: str, kind: str | None
) -> None:
    code, out, _ = export("--policy", str(POLICY), "--out", "rules", *arguments)

    assert (code, out) == (ExitCode.OK, f"rules/{name}\n")
    assert YAML(typ="safe").load(tmp_path / "rules" / name).get("kind") == kind


def test_the_policy_may_come_from_the_environment(export: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESERVE_POLICY", str(POLICY))

    assert export()[0] == ExitCode.OK


def test_a_wrong_policy_is_told_with_its_line(export: Invoke, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.read_text().replace("max_replicas", "max_replcas"))

    code, out, err = export("--policy", "policy.yaml")

    assert (code, out) == (ExitCode.BAD_INPUT, "")
    assert "did you mean max_replicas?" in err
