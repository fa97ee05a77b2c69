"""foreserve explain, as a user calls it, on a store that a run left behind."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from controller.cli.explain import explain
from controller.domain.plan import Action
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.errors import BadInputError
from controller.store.sqlite import SqliteStore
from tests.episode import episode
from tests.records import EMBED, NOTHING_KEPT, deployment_record, record

APP = typer.Typer(rich_markup_mode=None)
APP.command()(explain)
EPISODE = episode()
LAST = EPISODE[-1]


def write(path: Path, records: Sequence[TickRecord]) -> Path:
    store = SqliteStore(path)
    for one in records:
        store.finish(one, PlannerState(), NOTHING_KEPT)
    store.close()
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("store") / "s.db", EPISODE)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(APP, list(arguments), env={"COLUMNS": "40"})


def refusal(*arguments: str) -> str:
    """Return the message of the error that ``main`` turns into exit code 2."""
    result = run(*arguments)
    assert isinstance(result.exception, BadInputError)
    return str(result.exception)


def titles(text: str) -> list[int]:
    """The ticks of the pages."""
    return [int(line.split()[2]) for line in text.splitlines() if line.startswith("chat/LLMServer:tiny ")]


def test_the_last_action_and_the_latest_record_are_explained(store: Path) -> None:
    acted = [r.tick for r in EPISODE if r.deployments[0].decision.action is not Action.NONE]

    result = run("chat/LLMServer:tiny", "--store", str(store))

    assert result.exit_code == 0
    assert titles(result.stdout) == [acted[-1], LAST.tick]
    assert "2 → 1 replica: scale_down" in result.stdout


def test_a_record_that_is_both_is_explained_once(tmp_path: Path) -> None:
    path = write(tmp_path / "s.db", [record()])

    assert titles(run("tiny", "--store", str(path)).stdout) == [7]


def test_piped_output_has_neither_colours_nor_wrapped_lines(store: Path) -> None:
    result = run("tiny", "--store", str(store))

    assert "\x1b" not in result.stdout
    assert any(len(line) > 100 for line in result.stdout.splitlines())


def test_the_record_in_force_at_a_time_is_explained_with_what_came_of_it(store: Path) -> None:
    up = next(r for r in EPISODE if r.deployments[0].decision.action is Action.SCALE_UP)

    result = run("tiny", "--at", str(up.at + 1), "--store", str(store))

    assert titles(result.stdout) == [up.tick]
    assert "2 replicas ready 30 s after the order, in time" in result.stdout


def test_the_last_records_are_explained_oldest_first(store: Path) -> None:
    result = run("tiny", "--last", "3", "--store", str(store))

    assert titles(result.stdout) == [LAST.tick - 2, LAST.tick - 1, LAST.tick]


def test_json_gives_the_records(store: Path) -> None:
    result = run("tiny", "--last", "2", "--json", "--store", str(store))

    assert [one["tick"] for one in json.loads(result.stdout)] == [LAST.tick - 1, LAST.tick]


def test_the_store_is_taken_from_the_environment(store: Path) -> None:
    result = CliRunner().invoke(APP, ["tiny"], env={"FORESERVE_STORE": str(store)})

    assert result.exit_code == 0


def test_a_time_ago_may_begin_with_a_minus(store: Path) -> None:
    assert run("tiny", "--at", "-1s", "--store", str(store)).exit_code == 0


def test_a_misspelt_deployment_is_answered_with_the_likely_one(store: Path) -> None:
    assert refusal("tinny", "--store", str(store)) == (
        f"'tinny' is not in {store}; did you mean chat/LLMServer:tiny? recorded: chat/LLMServer:tiny"
    )


def test_an_ambiguous_part_is_answered_with_the_candidates(tmp_path: Path) -> None:
    path = write(tmp_path / "s.db", [record(deployment_record(), deployment_record(EMBED))])

    assert refusal("E", "--store", str(path)) == (
        "'E' may be any of chat/LLMServer:tiny, embed/Embedder; write more of the name"
    )
    assert run("embed", "--store", str(path)).exit_code == 0


def test_a_time_before_the_first_record_is_told(store: Path) -> None:
    assert "nothing was recorded for chat/LLMServer:tiny up to 2020-01-01" in refusal(
        "tiny", "--at", "2020-01-01", "--store", str(store)
    )


def test_a_wrong_time_is_told(store: Path) -> None:
    assert "'noon' is not a time" in refusal("tiny", "--at", "noon", "--store", str(store))


def test_no_store_is_told(tmp_path: Path) -> None:
    assert "there is no store here" in refusal("tiny", "--store", str(tmp_path / "none.db"))


def test_a_store_without_a_tick_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "s.db", [])

    assert "nothing is recorded yet" in refusal("tiny", "--store", str(path))


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("not a database", encoding="utf-8")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")

    assert "is not a database" in refusal("tiny", "--store", str(text))
    assert "is a database of another program" in refusal("tiny", "--store", str(other))


def test_help_has_examples() -> None:
    assert "  foreserve explain tiny --at -5m" in run("--help").stdout
