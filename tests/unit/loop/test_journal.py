"""Records are kept whatever happens to the store, and what happens to it is told."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from controller.codec import load_record
from controller.domain.lasting import Piece
from controller.domain.state import PlannerState
from controller.export.log import json_log
from controller.export.metrics import MetricsExporter
from controller.loop.journal import Journal
from controller.ports import StoreError
from tests.clocks import VirtualClock
from tests.records import CHAT, NOTHING_KEPT, record


class TroubledStore:
    """Raises its problem while it has one; moves a damaged file aside at the tick it is told to."""

    def __init__(self, *, damaged_at: int | None = None) -> None:
        self.problem: str | None = None
        self.notices: list[str] = []
        self.written: list[int] = []
        self.kept: Sequence[Piece] = ()
        self.closed = False
        self._damaged_at = damaged_at

    def begin(self, record: Any, _state: PlannerState) -> None:
        if self.problem:
            raise StoreError(self.problem)
        if record.tick == self._damaged_at:
            self.notices.append("records.db was damaged and is now records.db.corrupt-1")
        self.written.append(record.tick)

    def finish(self, record: Any, state: PlannerState, _lasting: Any) -> None:
        self.begin(record, state)

    def keep(self, pieces: Sequence[Piece]) -> None:
        if self.problem:
            raise StoreError(self.problem)
        self.kept = pieces

    def close(self) -> None:
        self.closed = True


def journal(store: TroubledStore) -> tuple[Journal, io.StringIO]:
    log = io.StringIO()
    observer = MetricsExporter()
    return (
        Journal(store=store, log=json_log(log, VirtualClock()), observer=observer, notices=store.notices),
        log,
    )


def events(log: io.StringIO, name: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == name]


def test_a_record_that_cannot_be_stored_is_whole_in_the_log() -> None:
    store = TroubledStore()
    store.problem = "records.db: disk is full"
    keeping, log = journal(store)

    keeping.begin(record(tick=3), PlannerState())

    (line,) = events(log, "record_not_stored")
    assert load_record(line["record"]).tick == 3
    assert line["problem"] == "records.db: disk is full"
    assert keeping.problem is not None
    assert "records.db: disk is full" in keeping.problem


def test_the_problem_ends_with_the_next_write_that_succeeds() -> None:
    store = TroubledStore()
    store.problem = "records.db: disk is full"
    keeping, _ = journal(store)
    keeping.begin(record(tick=3), PlannerState())

    store.problem = None
    keeping.finish(record(tick=3), PlannerState(), NOTHING_KEPT)

    assert keeping.problem is None
    assert store.written == [3]


def test_a_damaged_file_that_was_moved_aside_is_told_once() -> None:
    keeping, log = journal(TroubledStore(damaged_at=2))

    for tick in (1, 2, 3):
        keeping.begin(record(tick=tick), PlannerState())

    assert [(line["tick"], line["notice"]) for line in events(log, "store_notice")] == [
        (2, "records.db was damaged and is now records.db.corrupt-1")
    ]


@pytest.mark.parametrize("problem", [None, "records.db: disk is full"])
def test_what_was_learned_is_written_at_the_end_and_the_store_is_closed_whatever_happens(problem: str | None) -> None:
    store = TroubledStore()
    store.problem = problem
    keeping, log = journal(store)
    last = [Piece(deployment=CHAT, name="track work 120", at=5.0, body=b"learned")]

    keeping.close(last)

    assert store.closed
    assert [line["problem"] for line in events(log, "learned_not_stored")] == ([problem] if problem else [])
    assert list(store.kept) == ([] if problem else last)
