"""Decision records and the loop's state in one SQLite file.

A tick's record and state are one transaction; a process killed at any moment leaves the previous one whole.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from controller.codec import load_state
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Checkpoint, Piece
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.ports import Lasting, StoreError
from controller.store.damage import move_aside, refuse_other_files
from controller.store.failure import is_damage, store_error
from controller.store.open_file import OpenFile, Retention
from controller.store.reading import RecordReader
from controller.store.writer_lock import WriterLock, lock_path

T = TypeVar("T")

_WEEK_S = 7 * 86_400


class SqliteStore:
    """The controller's store. One writer; any number of ``StoreReader`` beside it, in any process.

    ``notices`` are sentences about what was done to a damaged file. Methods may be called from any thread.
    """

    def __init__(
        self, path: Path, *, max_records: int = 60_480, max_age_s: float = _WEEK_S, max_bytes: int = 2 << 30
    ) -> None:
        """Open or create the file; keep at most so many records, so old, in so many bytes.

        A damaged file is moved aside to ``<name>.corrupt-<n>`` and a fresh one started.

        Raises:
            StoreError: the file cannot be used, or another controller is using it.

        """
        self.notices: list[str] = []
        self._path = path
        self._retention = Retention(max_records=max_records, max_age_s=max_age_s, max_bytes=max_bytes)
        self._guard = threading.RLock()
        if not path.parent.is_dir():
            msg = f"{path}: the directory {path.parent} does not exist; create it, or choose another file for the store"
            raise StoreError(msg)
        used_before = lock_path(path).exists()
        self._lock = WriterLock(path)
        try:
            refuse_other_files(path, used_before=used_before)
            self._file = self._open()
        except StoreError:
            self._lock.release()
            raise

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        """Write a tick before anything is done. Raises StoreError; then nothing of it was written."""
        with self._guard:
            if record.tick <= self._file.last_tick:
                msg = f"{self._path}: tick {record.tick} was recorded before; the last one is {self._file.last_tick}"
                raise StoreError(msg)
            self._write(lambda file: file.begin(record, state))

    def finish(self, record: TickRecord, state: PlannerState, lasting: Lasting) -> None:
        """Write a tick again with its outcomes, the state, and what is new of ``lasting``.

        Raises StoreError; then nothing was written.
        """
        with self._guard:
            if record.tick < self._file.last_tick:
                msg = f"{self._path}: tick {record.tick} is past; the last one is {self._file.last_tick}"
                raise StoreError(msg)
            self._write(lambda file: file.finish(record, state, lasting, self._retention))

    def keep(self, pieces: Sequence[Piece]) -> None:
        """Write these now. Raises StoreError; then none was written."""
        with self._guard:
            self._write(lambda file: file.keep(pieces))

    def put(self, kind: str, name: str, body: bytes) -> None:
        """Write one text of the shelf now. Raises StoreError; then it was not written."""
        with self._guard:
            self._write(lambda file: file.put(kind, name, body))

    def drop(self, kind: str, name: str) -> None:
        """Remove one text of the shelf, if it is there. Raises StoreError."""
        with self._guard:
            self._write(lambda file: file.drop(kind, name))

    def everything(self, kind: str) -> list[bytes]:
        """Return all texts of one kind of the shelf. Raises StoreError."""
        with self._guard:
            return self._ask(lambda: self._file.everything(kind))

    def last_tick(self) -> int:
        """Return the newest tick ever recorded here; 0 before the first."""
        return self._file.last_tick

    def load(self) -> Checkpoint | None:
        """Return what was kept as of the last tick; None when there was none. Raises StoreError.

        State that this version cannot read is left out, and a notice says so.
        """
        with self._guard:
            if self._file.last_tick == 0:
                return None
            histories, pieces = self._ask(self._file.histories), self._ask(self._file.pieces)
            try:
                state = load_state(self._ask(self._file.state) or b"")
            except (ValidationError, zlib.error) as exc:
                self.notices.append(f"{self._path}: the planner's memory cannot be read back and starts empty ({exc})")
                state = PlannerState()
            return Checkpoint(state=state, histories=histories, pieces=pieces)

    def records(
        self, *, deployment: DeploymentId | None = None, at: float | None = None, last: int | None = None
    ) -> list[TickRecord]:
        """Return records, oldest first: the newest ``last`` that are not later than ``at``.

        Without ``last``: one when ``at`` is given, else all. With ``deployment``, only the ticks that
        have it, without the other deployments. A tick that was never finished has outcomes PENDING.

        Raises:
            StoreError: a record cannot be read.

        """
        with self._guard:
            return self._ask(lambda: RecordReader(self._file.connection, self._path).records(deployment, at, last))

    def close(self) -> None:
        """Flush and close. Closing twice is harmless."""
        with self._guard:
            self._file.close()
            self._lock.release()

    def _open(self) -> OpenFile:
        try:
            return OpenFile(self._path)
        except sqlite3.Error as exc:
            if not is_damage(exc):
                raise store_error(self._path, exc) from exc
            return self._start_fresh(exc)

    def _write(self, work: Callable[[OpenFile], None]) -> None:
        """Run one transaction; when the file turns out damaged, run it in a fresh one."""
        try:
            work(self._file)
        except sqlite3.Error as exc:
            if not is_damage(exc):
                raise store_error(self._path, exc) from exc
            self._file.close()
            self._file = self._start_fresh(exc)
            self._ask(lambda: work(self._file))

    def _start_fresh(self, damage: sqlite3.Error) -> OpenFile:
        kept = move_aside(self._path)
        self.notices.append(f"{self._path}: its content was damaged ({damage}); kept as {kept}, a fresh store begins")
        return self._ask(lambda: OpenFile(self._path))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except sqlite3.Error as exc:
            raise store_error(self._path, exc) from exc
