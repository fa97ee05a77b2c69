from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.cli.exit_codes import ExitCode
from controller.cli.main import main
from controller.cli.up import seconds
from controller.errors import BadInputError
from controller.local.stack import PROMETHEUS, StackOptions

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["foreserve", "up", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return invoke


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5h", 5400.0), (" 2m ", 120.0)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5 minutes", "-5m", "m", "0s", "1e3"])
def test_anything_else_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(BadInputError, match="such as 90s or 5m"):
        seconds(text)


def test_a_taken_port_is_one_message_and_exit_code_2(up: Invoke, tmp_path: Path) -> None:
    policy = Path(__file__).parents[3] / "manifests/policies/local.yaml"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, out, err = up("--headless", f"--port={port}", f"--policy={policy}", f"--folder={tmp_path}")

    assert code == ExitCode.BAD_INPUT
    assert f"port {port} for the OpenAI-compatible API is taken by" in err
    assert "choose another with --port" in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_policy_stops_it_before_anything_is_started(up: Invoke, tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text("version: 2\n")

    code, _, err = up(f"--policy={policy}", f"--folder={tmp_path / 'f'}")

    assert code == ExitCode.BAD_INPUT
    assert str(policy) in err
    assert not (tmp_path / "f").exists()


def test_prometheus_is_a_step_only_where_it_is_wanted() -> None:
    policy = Path("p.yaml")

    assert PROMETHEUS in StackOptions(policy=policy).step_names()
    assert PROMETHEUS not in StackOptions(policy=policy, with_prometheus=False).step_names()
