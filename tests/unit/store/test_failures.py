"""What stands in the way of the store is named with the file, what happened and what to do."""

import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.domain.state import PlannerState
from controller.ports import StoreError
from controller.store import connecting
from controller.store.reader import StoreReader
from controller.store.schema import MIGRATIONS, migrate
from controller.store.sqlite import SqliteStore
from tests.records import CHAT, NOTHING_KEPT, record

ROOT = Path(__file__).parents[3]
STATE = PlannerState()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB; needs the right to mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def write(store: SqliteStore, tick: int) -> None:
    one = record(tick=tick, at=1000.0 + tick)
    store.begin(one, STATE)
    store.finish(one, STATE, NOTHING_KEPT)


def write_on(store: SqliteStore, until: int) -> None:
    for tick in range(store.last_tick() + 1, until):
        write(store, tick)


def stored(path: Path, ticks: int = 1) -> Path:
    store = SqliteStore(path)
    for tick in range(1, ticks + 1):
        write(store, tick)
    store.close()
    return path


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as raised:
        SqliteStore(path)
    return str(raised.value)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "s.db"

    assert refusal(path) == (
        f"{path}: the directory {path.parent} does not exist; create it, or choose another file for the store"
    )


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: is a directory; name a file in it for the store"


def test_a_directory_that_cannot_be_written_is_named() -> None:
    assert "choose a directory for the store that this user may write" in refusal(Path("/sys/s.db"))


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("my notes\n", encoding="utf-8")

    assert refusal(path) == f"{path}: is not a database; choose another file for the store"
    assert path.read_text(encoding="utf-8") == "my notes\n"


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")

    assert refusal(path) == f"{path}: is a database of another program; choose another file for the store"


def test_a_store_of_a_newer_version_is_refused(path: Path) -> None:
    stored(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")

    message = "was written by a newer foreserve (store version 99, this one knows 3)"
    assert message in refusal(path)
    with pytest.raises(StoreError, match="written by a newer foreserve"):
        StoreReader(path)


def test_an_older_store_is_migrated_step_by_step_and_keeps_its_content(path: Path) -> None:
    stored(path)
    connection = sqlite3.connect(path, isolation_level=None)

    migrate(connection, path, [*MIGRATIONS, lambda c: c.execute("ALTER TABLE ticks ADD COLUMN note TEXT") and None])

    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert connection.execute("SELECT tick, note FROM ticks").fetchall() == [(1, None)]
    connection.close()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    stored(path)
    connection = sqlite3.connect(path, isolation_level=None)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE state")
        connection.execute("SELECT * FROM nothing")

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, [*MIGRATIONS, fail])
    connection.close()

    again = SqliteStore(path)
    assert again.load() is not None
    again.close()


def test_a_second_controller_is_refused_while_the_first_runs_and_readers_are_not(path: Path) -> None:
    first = SqliteStore(path)
    write(first, 1)

    message = refusal(path)
    with StoreReader(path) as reader:
        assert len(reader.records()) == 1
    first.close()
    second = SqliteStore(path)

    assert message == (
        f"{path}: another controller (process {os.getpid()}) writes to it; "
        "stop that one, or choose another file for the store"
    )
    assert second.last_tick() == 1
    second.close()


def test_a_refused_store_does_not_stay_locked(path: Path) -> None:
    path.write_text("my notes\n", encoding="utf-8")
    refusal(path)

    path.unlink()

    SqliteStore(path).close()


def test_a_file_that_somebody_else_has_locked_is_named_and_works_again_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_WRITER_WAITS_S", 0.05)
    store = SqliteStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match=r"s\.db: database is locked: another process holds it locked; close what"):
        store.begin(record(tick=1), STATE)
    other.execute("ROLLBACK")
    other.close()
    write(store, 1)

    assert store.last_tick() == 1
    store.close()


def test_a_full_disk_is_named_loses_nothing_and_works_again_with_space(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "s.db")
    write(store, 1)
    filler = small_disk / "filler"
    fill(filler)

    with pytest.raises(StoreError, match=r"s\.db: .*(the disk is full; free space|the disk failed or is full)"):
        write_on(store, 200)
    reached = store.last_tick()
    found = store.records(deployment=CHAT)
    filler.unlink()
    write(store, reached + 1)

    assert [one.tick for one in found] == list(range(1, reached + 1))
    assert len(store.records()) == reached + 1
    store.close()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_becomes_read_only_is_named_and_can_still_be_read(small_disk: Path) -> None:
    stored(small_disk / "s.db")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    message = refusal(small_disk / "s.db")
    with StoreReader(small_disk / "s.db") as reader:
        found = reader.records()

    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert "cannot be written (Read-only file system)" in message
    assert [one.tick for one in found] == [1]


def test_a_limit_on_file_sizes_is_named(path: Path) -> None:
    """In a process of its own, because the limit holds for all of its files."""
    program = (
        "import resource, sys, pathlib\n"
        "from tests.unit.store.test_failures import fail_at_limit\n"
        "fail_at_limit(pathlib.Path(sys.argv[1]))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert f"{path}: " in result.stdout, result.stderr
    assert "check free space, quotas and file size limits" in result.stdout
    store = SqliteStore(path)
    assert [one.tick for one in store.records()] == list(range(1, store.last_tick() + 1))
    store.close()


def fail_at_limit(path: Path) -> None:
    store = SqliteStore(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    tick = 0
    try:
        while True:
            tick += 1
            write(store, tick)
    except StoreError as exc:
        sys.stdout.write(str(exc))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"garbage!" * 512 + data[4096:], id="no-header"),
        pytest.param(lambda data: data[:4096] + b"\xff" * (len(data) - 4096), id="no-pages"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut-off"),
    ],
)
def test_a_damaged_store_is_kept_aside_and_a_fresh_one_begins(path: Path, damage: object) -> None:
    assert callable(damage)
    stored(path, ticks=20)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)

    store = SqliteStore(path)
    write(store, 1)

    kept = path.with_name("s.db.corrupt-1")
    assert store.records() != []
    assert kept.read_bytes() == broken
    assert store.notices[0].startswith(f"{path}: its content was damaged (")
    assert store.notices[0].endswith(f"kept as {kept}, a fresh store begins")
    store.close()


def test_a_second_damaged_store_does_not_replace_the_first(path: Path) -> None:
    for _ in range(2):
        stored(path)
        path.write_bytes(b"garbage!" * 2000)

    SqliteStore(path).close()
    stored(path)
    path.write_bytes(b"garbage!" * 2000)
    SqliteStore(path).close()

    assert sorted(one.name for one in path.parent.glob("*.corrupt-*")) == [
        "s.db.corrupt-1",
        "s.db.corrupt-2",
        "s.db.corrupt-3",
    ]


def test_damage_while_running_costs_the_past_and_not_the_tick(path: Path) -> None:
    stored(path, ticks=20)
    store = SqliteStore(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    forget_cached_pages(path)

    write_on(store, 24)

    assert [one.tick for one in store.records()] == [21, 22, 23]
    assert len(store.notices) == 1
    assert path.with_name("s.db.corrupt-1").exists()
    store.close()


def forget_cached_pages(path: Path) -> None:
    """Change the file from outside, so that its other users read it again."""
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 1")
    other.close()


def test_a_reader_of_a_damaged_store_is_told(path: Path) -> None:
    stored(path, ticks=20)
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))

    with pytest.raises(StoreError, match="its content is damaged"), StoreReader(path) as reader:
        reader.records()


def test_a_reader_of_an_empty_file_is_told(path: Path) -> None:
    path.touch()

    with pytest.raises(StoreError, match="is empty; start the controller on it once"):
        StoreReader(path)
