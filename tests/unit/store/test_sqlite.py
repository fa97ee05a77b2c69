"""Records, state and histories go into the store and come back as they were."""

import random
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.lasting import Checkpoint, Piece, PieceKey
from controller.domain.plan import Action, Outcome, OutcomeStatus
from controller.domain.record import TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import DeploymentMemory, PlannerState
from controller.ports import StoreError
from controller.store.reader import StoreReader
from controller.store.sqlite import SqliteStore
from tests.records import CHAT, EMBED, NOTHING_KEPT, Kept, decision, deployment_record, record

STATE = PlannerState(deployments=((CHAT, DeploymentMemory(last_set=3, startup_seconds=(20.5,))),))
HISTORY = (CHAT, Signal.REQUESTS, History(start=950.0, step_s=5.0, values=(None, 1.5, 0.0, None)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


def tick(number: int, at: float | None = None) -> TickRecord:
    return record(tick=number, at=1000.0 + number if at is None else at)


def write(store: SqliteStore, *records: TickRecord) -> None:
    for one in records:
        store.begin(one, STATE)
        store.finish(one, STATE, NOTHING_KEPT)


def ticks(records: list[TickRecord]) -> list[int]:
    return [one.tick for one in records]


def test_an_empty_store_has_nothing(store: SqliteStore) -> None:
    assert store.last_tick() == 0
    assert store.load() is None
    assert store.records() == []


def test_a_finished_tick_comes_back_as_it_was_after_a_restart(path: Path, store: SqliteStore) -> None:
    whole = record(deployment_record(CHAT), deployment_record(EMBED))
    store.begin(whole, PlannerState())
    store.finish(whole, STATE, Kept([HISTORY]))
    store.close()

    again = SqliteStore(path)

    assert again.records() == [whole]
    assert again.load() == Checkpoint(state=STATE, histories=(HISTORY,), pieces=())
    assert again.last_tick() == whole.tick
    assert again.notices == []
    again.close()


def test_outcomes_of_a_tick_that_was_never_finished_are_pending(store: SqliteStore) -> None:
    waiting = decision(EMBED, action=Action.NONE)
    nothing = Outcome(id=EMBED, status=OutcomeStatus.NOTHING_TO_DO)

    store.begin(record(deployment_record(), deployment_record(EMBED, decision=waiting, outcome=nothing)), STATE)

    (found,) = store.records()
    assert found.deployments[0].outcome.status is OutcomeStatus.PENDING
    assert "before the result was recorded" in found.deployments[0].outcome.detail
    assert found.deployments[1].outcome == nothing
    assert store.load() == Checkpoint(state=STATE, histories=(), pieces=())


def test_a_tick_that_could_not_be_begun_may_still_be_finished(store: SqliteStore) -> None:
    store.finish(tick(4), STATE, NOTHING_KEPT)

    assert ticks(store.records()) == [4]
    assert store.last_tick() == 4


def test_a_tick_number_is_never_used_twice(store: SqliteStore) -> None:
    write(store, tick(5))

    with pytest.raises(StoreError, match=r"tick 5 was recorded before; the last one is 5"):
        store.begin(tick(5), STATE)
    with pytest.raises(StoreError, match=r"tick 4 is past; the last one is 5"):
        store.finish(tick(4), STATE, NOTHING_KEPT)

    assert ticks(store.records()) == [5]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"last": 2}, [5, 6]),
        ({"last": 99}, [1, 2, 3, 4, 5, 6]),
        ({"at": 1003.0}, [3]),
        ({"at": 1003.9, "last": 2}, [2, 3]),
        ({"at": 999.0}, []),
        ({"deployment": CHAT}, [1, 2, 3, 4, 5, 6]),
        ({"deployment": EMBED}, [2, 4, 6]),
        ({"deployment": EMBED, "last": 2}, [4, 6]),
        ({"deployment": EMBED, "at": 1003.0}, [2]),
    ],
)
def test_records_are_found_by_deployment_time_and_number(
    store: SqliteStore, query: dict[str, object], expected: list[int]
) -> None:
    both = (deployment_record(CHAT), deployment_record(EMBED))
    write(store, *(record(*both[: 2 - n % 2], tick=n, at=1000.0 + n) for n in range(1, 7)))

    found = store.records(**query)  # type: ignore[arg-type]

    assert ticks(found) == expected
    if "deployment" in query:
        assert all([d.decision.id for d in one.deployments] == [query["deployment"]] for one in found)


def test_a_reader_finds_actions_followers_and_deployments(path: Path, store: SqliteStore) -> None:
    idle = deployment_record(decision=decision(action=Action.NONE))
    write(store, tick(1), tick(2), record(idle, tick=3, at=1003.0), record(deployment_record(EMBED), tick=4, at=1004.0))

    with StoreReader(path) as reader:
        acted = reader.last_action(CHAT)
        assert acted is not None
        assert acted.tick == 2
        assert ticks(reader.after(1, deployment=CHAT, limit=5)) == [2, 3]
        assert ticks(reader.after(1, limit=2)) == [2, 3]
        assert reader.deployments() == [CHAT, EMBED]


def test_a_reader_loads_state_and_histories(path: Path, store: SqliteStore) -> None:
    with StoreReader(path) as reader:
        assert reader.load() is None

    store.finish(tick(1), STATE, Kept([HISTORY]))

    with StoreReader(path) as reader:
        assert reader.load() == Checkpoint(state=STATE, histories=(HISTORY,), pieces=())


def test_a_reader_keeps_to_one_moment_while_the_writer_goes_on(path: Path, store: SqliteStore) -> None:
    write(store, tick(1))
    with StoreReader(path) as reader:
        before = reader.records()
        write(store, tick(2))

        assert ticks(before) == ticks(reader.records()) == [1]
    assert ticks(store.records()) == [1, 2]


def test_only_so_many_records_are_kept(path: Path) -> None:
    store = SqliteStore(path, max_records=3)
    write(store, *(tick(n) for n in range(1, 11)))

    assert ticks(store.records()) == [8, 9, 10]
    assert ticks(store.records(deployment=CHAT)) == [8, 9, 10]
    store.close()


def test_a_store_that_is_allowed_less_than_before_shrinks_step_by_step(path: Path, store: SqliteStore) -> None:
    write(store, *(tick(n) for n in range(1, 201)))
    store.close()
    smaller = SqliteStore(path, max_records=10)

    write(smaller, tick(201))
    assert 10 < len(smaller.records()) < 200
    write(smaller, *(tick(n) for n in range(202, 206)))

    assert ticks(smaller.records()) == list(range(196, 206))
    smaller.close()


def test_records_are_kept_only_so_long_but_the_newest_always(path: Path) -> None:
    store = SqliteStore(path, max_age_s=60.0)

    write(store, tick(1, 0.0), tick(2, 50.0), tick(3, 100.0))
    assert ticks(store.records()) == [2, 3]
    write(store, tick(4, 100_000.0))
    assert ticks(store.records()) == [4]
    store.close()


def test_the_file_stays_within_its_bytes(path: Path) -> None:
    store = SqliteStore(path, max_bytes=200_000)

    noise = random.Random(1)
    write(store, *(record(tick=n, at=n, degraded=(noise.randbytes(2000).hex(),)) for n in range(1, 200)))

    assert store.last_tick() == 199
    assert 10 < len(store.records()) < 150
    store.close()
    assert path.stat().st_size < 300_000


def test_tick_numbers_go_on_after_everything_was_forgotten(path: Path) -> None:
    store = SqliteStore(path, max_age_s=1.0)
    write(store, tick(41, 0.0), tick(42, 1e6))
    store.close()

    again = SqliteStore(path)

    assert again.last_tick() == 42
    again.close()


def test_state_that_another_version_wrote_is_left_out_and_told(path: Path, store: SqliteStore) -> None:
    write(store, tick(1))
    store.close()
    corrupt_state(path)

    again = SqliteStore(path)

    assert again.load() == Checkpoint(histories=(), pieces=())
    assert "the planner's memory cannot be read back and starts empty" in again.notices[0]
    assert ticks(again.records()) == [1]
    again.close()


def corrupt_state(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE state SET body = ?", (zlib.compress(b'{"deployments": "none"}'),))
    connection.close()


def test_threads_may_share_a_store(store: SqliteStore) -> None:
    write(store, tick(1))
    found: list[list[int]] = []

    reading = threading.Thread(target=lambda: found.append(ticks(store.records())))
    reading.start()
    reading.join()

    assert found == [[1]]


def test_closing_twice_is_harmless_and_writing_afterwards_is_an_error(store: SqliteStore) -> None:
    store.close()
    store.close()

    with pytest.raises(StoreError, match="closed database"):
        store.begin(tick(1), STATE)


def test_pieces_come_back_and_only_what_is_newer_is_asked_for_again(path: Path, store: SqliteStore) -> None:
    old, new = (Piece(deployment=CHAT, name="track work 120", at=at, body=b"%d" % at) for at in (900.0, 950.0))
    other = Piece(deployment=EMBED, name="track work 120", at=900.0, body=b"other")
    asked: list[Mapping[PieceKey, float]] = []

    class Asking(Kept):
        def pieces(self, held: Mapping[PieceKey, float]) -> Sequence[Piece]:
            asked.append(dict(held))
            return super().pieces(held)

    store.finish(tick(1), STATE, Asking(learned=[old, other]))
    store.finish(tick(2), STATE, Asking(learned=[new, other]))
    store.close()
    again = SqliteStore(path)
    loaded = again.load()
    again.finish(tick(3), STATE, Asking())
    again.close()

    assert loaded is not None
    assert set(loaded.pieces) == {new, other}
    assert asked == [{}, {old.key: 900.0, other.key: 900.0}, {new.key: 950.0, other.key: 900.0}]


def test_pieces_that_nobody_renewed_are_dropped(store: SqliteStore) -> None:
    day_s = 86_400.0
    store.finish(tick(1), STATE, Kept(learned=[Piece(deployment=CHAT, name="track work 120", at=1000.0, body=b"x")]))
    later = replace(tick(2), at=1000.0 + 17 * day_s)

    store.finish(later, STATE, NOTHING_KEPT)

    loaded = store.load()
    assert loaded is not None
    assert loaded.pieces == ()


def test_a_store_of_the_first_version_is_brought_to_this_one(path: Path, store: SqliteStore) -> None:
    write(store, tick(1))
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE learned")
        connection.execute("DROP TABLE shelf")
        connection.execute("PRAGMA user_version = 1")
    connection.close()

    again = SqliteStore(path)

    assert again.load() == Checkpoint(state=STATE, histories=(), pieces=())
    again.finish(tick(2), STATE, NOTHING_KEPT)
    assert ticks(again.records()) == [1, 2]
    again.close()
