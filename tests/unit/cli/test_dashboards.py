"""foreserve dashboards: files that are written, and a Grafana that is brought up to date."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from controller.cli.exit_codes import ExitCode
from controller.cli.main import main
from tests.grafana_api import TOKEN, Grafana, grafana

UIDS = ["foreserve-autoscaling", "foreserve-engine", "foreserve-fleet", "foreserve-service"]

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[Grafana]:
    with grafana() as served:
        yield served


@pytest.fixture
def foreserve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Invoke:
    """Run the command in an empty directory; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["foreserve", "dashboards", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return invoke


@pytest.fixture
def push(foreserve: Invoke, server: Grafana, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("FORESERVE_GRAFANA_TOKEN", TOKEN)
    return lambda *more: foreserve("push", "--url", server.url, *more)


def test_a_push_makes_the_folder_and_every_dashboard_in_it(push: Invoke, server: Grafana) -> None:
    code, out, _ = push()

    assert code == ExitCode.OK
    assert out.splitlines() == ["folder Foreserve: made", *(f"{uid}: made" for uid in UIDS)]
    assert server.folders == {"foreserve": "Foreserve"}
    assert set(server.folder_of.values()) == {"foreserve"}


def test_a_second_push_changes_nothing(push: Invoke, server: Grafana) -> None:
    push()
    before = list(server.writes)

    _, out, _ = push()

    assert out.splitlines() == [f"{uid}: unchanged" for uid in UIDS]
    assert server.writes == before


def test_a_dry_run_shows_the_difference_and_changes_nothing(push: Invoke, server: Grafana) -> None:
    push()
    server.boards["foreserve-fleet"]["title"] = "Mine"
    before = list(server.writes)

    _, out, _ = push("--dry-run")

    assert "foreserve-fleet: would change" in out
    assert '- "title": "Mine"' in out
    assert '+ "title": "Foreserve / Fleet & cost"' in out
    assert server.writes == before


def test_a_dry_run_of_an_empty_grafana_says_what_would_be_made(push: Invoke, server: Grafana) -> None:
    _, out, _ = push("--dry-run", "--folder", "LLM team")

    assert out.splitlines() == ["folder LLM team: would be made", *(f"{uid}: would be made" for uid in UIDS)]
    assert server.writes == []


def test_what_was_edited_in_grafana_is_brought_back(push: Invoke, server: Grafana) -> None:
    push()
    server.boards["foreserve-fleet"]["panels"].pop()

    _, out, _ = push()

    assert "foreserve-fleet: changed" in out.splitlines()
    assert server.boards["foreserve-fleet"]["version"] == 2
    assert push()[1].splitlines() == [f"{uid}: unchanged" for uid in UIDS]


def test_a_dashboard_in_another_folder_is_moved(push: Invoke, server: Grafana) -> None:
    push()

    push("--folder", "LLM team")

    assert set(server.folder_of.values()) == {"llm-team"}


def test_a_newer_schema_in_grafana_is_no_difference(push: Invoke, server: Grafana) -> None:
    push()
    for board in server.boards.values():
        board["schemaVersion"] += 1

    assert push()[1].splitlines() == [f"{uid}: unchanged" for uid in UIDS]


def test_a_change_between_reading_and_writing_is_not_overwritten(push: Invoke, server: Grafana) -> None:
    push()
    server.boards["foreserve-autoscaling"]["title"] = "Mine"
    server.edited_behind_our_back = True

    code, _, err = push()

    assert code == ExitCode.UNAVAILABLE
    assert "changed by someone else" in err
    assert "push again" in err
    assert server.boards["foreserve-autoscaling"]["title"] == "Mine"


def test_a_wrong_token_is_refused_and_never_shown(foreserve: Invoke, server: Grafana, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("glsa_wrong\n")

    code, out, err = foreserve("push", "--url", server.url, "--token-file", "token")

    assert code == ExitCode.UNAVAILABLE
    assert "HTTP 401: Invalid API key" in err
    assert "glsa_wrong" not in out + err
    assert server.writes == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--url", "ftp://x"), ExitCode.BAD_INPUT, "expected one like https://grafana.example.com"),
        (("--url", "http://u:p@x"), ExitCode.BAD_INPUT, "user name or password"),
        (("--url", "http://127.0.0.1:1"), ExitCode.UNAVAILABLE, "127.0.0.1:1 cannot be reached"),
        (("--url", "http://127.0.0.1:1", "--token-file", "none"), ExitCode.BAD_INPUT, "none: cannot be read"),
        (("--url", "http://127.0.0.1:1", "--folder", "!"), ExitCode.BAD_INPUT, "no letter or digit"),
    ],
)
def test_what_cannot_be_pushed_says_why(
    foreserve: Invoke, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    given, _, err = foreserve("push", *arguments)

    assert given == code
    assert message in err
    assert "u:p" not in err


@pytest.mark.parametrize("status", [500, 429])
def test_a_broken_grafana_is_unavailable(push: Invoke, server: Grafana, status: int) -> None:
    server.broken = status

    code, _, err = push()

    assert code == ExitCode.UNAVAILABLE
    assert f"HTTP {status}" in err


def test_files_are_written_with_the_addresses_that_are_given(foreserve: Invoke, tmp_path: Path) -> None:
    code, out, _ = foreserve(
        "export", "--out", "boards", "--controller-url", "https://foreserve.example.com/", "--runbooks", "https://wiki"
    )

    assert code == ExitCode.OK
    assert out.splitlines() == [f"boards/{uid}.json" for uid in UIDS]
    board = json.loads((tmp_path / "boards/foreserve-service.json").read_text())
    values = {one["name"]: one["current"].get("value") for one in board["templating"]["list"]}
    assert values["controller"] == "https://foreserve.example.com"
    assert values["runbooks"] == "https://wiki"


def test_config_maps_hold_a_dashboard_each(foreserve: Invoke, tmp_path: Path) -> None:
    foreserve("export", "--format", "configmap", "--namespace", "monitoring", "--out", "maps")

    maps = [YAML(typ="safe").load((tmp_path / f"maps/{uid}.yaml").read_text()) for uid in UIDS]
    assert [one["metadata"]["labels"]["grafana_dashboard"] for one in maps] == ["1"] * 4
    assert [json.loads(one["data"][f"{uid}.json"])["uid"] for one, uid in zip(maps, UIDS, strict=True)] == UIDS
    assert {one["metadata"]["namespace"] for one in maps} == {"monitoring"}
    # A ConfigMap of more than 1 MiB is refused by Kubernetes.
    assert all(len(json.dumps(one)) < 1 << 20 for one in maps)


def test_a_folder_that_cannot_be_written_is_named(foreserve: Invoke, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, _, err = foreserve("export", "--out", "file")

    assert code == ExitCode.BAD_INPUT
    assert "file/foreserve-autoscaling.json: cannot be written" in err
