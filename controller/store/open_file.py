"""The store's file while it is open for writing: its transactions, and what they know of its content."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from controller.codec import HistoryEntry
from controller.domain.lasting import Piece, PieceKey
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.ports import Lasting
from controller.store import shelf
from controller.store.connecting import open_for_writing
from controller.store.histories import NOTHING_WRITTEN, Written, held_until, read_histories, write_histories
from controller.store.pieces import forget_pieces, read_pieces, write_pieces
from controller.store.writing import RecordWriter

_PIECES_KEPT_S = 16 * 86_400.0
"""What was not written again for so long belongs to a deployment that is gone, or is too old to learn from."""

_VACUUM_PAGES = 256
"""Free pages given back to the disk after one tick, once more than a tenth of the file is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much is kept: at most so many records, so old, in so many bytes of file."""

    max_records: int
    max_age_s: float
    max_bytes: int


class OpenFile:
    """One open database file. Every method may raise ``sqlite3.Error``; then nothing of it was written."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises StoreError when it is not ours, sqlite3.Error when it fails."""
        self.connection = open_for_writing(path)
        try:
            self._records = RecordWriter(self.connection)
            self._count = self._number("SELECT count(*) FROM ticks")
            newest = self._number("SELECT max(tick) FROM ticks")
            self.last_tick = max(newest, self._number("SELECT max(tick) FROM state"))
        except sqlite3.Error:
            self.connection.close()
            raise
        self._written: Written = NOTHING_WRITTEN
        self._pieces: dict[PieceKey, float] = {}

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        """Write an unfinished tick and the state."""
        with self._transaction():
            self._records.write(record, state, finished=False)
        self._count += record.tick > self.last_tick
        self.last_tick = record.tick

    def finish(self, record: TickRecord, state: PlannerState, lasting: Lasting, retention: Retention) -> None:
        """Write a finished tick, the state and what is new of what lasts; drop what is too old."""
        tails, pieces = lasting.tails(partial(held_until, self._written)), lasting.pieces(self._pieces)
        with self._transaction():
            self._records.write(record, state, finished=True)
            written = write_histories(self.connection, tails, self._written, self._records.number)
            write_pieces(self.connection, pieces, self._records.number)
            forget_pieces(self.connection, before=record.at - _PIECES_KEPT_S)
            forgotten = self._records.forget(
                before=record.at - retention.max_age_s,
                excess=max(self._count - retention.max_records, self._too_large(retention.max_bytes)),
            )
        self._written = written
        self._pieces |= {piece.key: piece.at for piece in pieces}
        self._count += (record.tick > self.last_tick) - forgotten
        self.last_tick = record.tick
        self._give_back_pages()

    def state(self) -> bytes | None:
        """Return the state of the last tick as JSON. Raises ``zlib.error`` too."""
        row = self.connection.execute("SELECT body FROM state").fetchone()
        return zlib.decompress(row[0]) if row else None

    def histories(self) -> tuple[HistoryEntry, ...]:
        """Return all histories; from then on only what is new in them is written."""
        histories, self._written = read_histories(self.connection)
        return histories

    def keep(self, pieces: Sequence[Piece]) -> None:
        """Write pieces now."""
        with self._transaction():
            write_pieces(self.connection, pieces, self._records.number)

    def put(self, kind: str, name: str, body: bytes) -> None:
        """Write one text of the shelf now."""
        with self._transaction():
            shelf.put(self.connection, kind, name, body)

    def drop(self, kind: str, name: str) -> None:
        """Remove one text of the shelf now."""
        with self._transaction():
            shelf.drop(self.connection, kind, name)

    def everything(self, kind: str) -> list[bytes]:
        """Return all texts of one kind of the shelf."""
        return shelf.everything(self.connection, kind)

    def pieces(self) -> tuple[Piece, ...]:
        """Return all pieces; from then on only newer ones are asked for."""
        pieces = read_pieces(self.connection)
        self._pieces = {piece.key: piece.at for piece in pieces}
        return pieces

    def close(self) -> None:
        """Close the file; what is in the write-ahead log moves into it."""
        with suppress(sqlite3.Error):
            self.connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            with suppress(sqlite3.Error):  # Its row numbers may be of rows that were rolled back.
                self._records = RecordWriter(self.connection)
            raise

    def _too_large(self, max_bytes: int) -> int:
        """How many records to drop because of the file's size: a percent of them at a time."""
        used = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return 1 + self._count // 100 if used * self._number("PRAGMA page_size") > max_bytes else 0

    def _give_back_pages(self) -> None:
        with suppress(sqlite3.Error):  # Only tidying: the next tick tries again.
            free = self._number("PRAGMA freelist_count")
            if free > _VACUUM_PAGES and free * 10 > self._number("PRAGMA page_count"):
                self.connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()

    def _number(self, query: str) -> int:
        return int(self.connection.execute(query).fetchone()[0] or 0)
