"""Read a store without writing to it: beside a running controller, or after one that was killed."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import ValidationError

from controller.codec import load_state
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Checkpoint
from controller.domain.record import TickRecord
from controller.ports import StoreError
from controller.store import shelf
from controller.store.connecting import open_for_reading
from controller.store.failure import store_error
from controller.store.histories import read_histories
from controller.store.pieces import read_pieces
from controller.store.reading import RecordReader

T = TypeVar("T")


class StoreReader:
    """Queries over one consistent moment of the store. Use as a context manager. Every method raises StoreError."""

    def __init__(self, path: Path) -> None:
        """Open read-only. Raises StoreError when there is no readable store."""
        self._path = path
        self._connection = open_for_reading(path)
        self._reader = RecordReader(self._connection, path)
        self._ask(lambda: self._connection.execute("BEGIN"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def records(
        self, *, deployment: DeploymentId | None = None, at: float | None = None, last: int | None = None
    ) -> list[TickRecord]:
        """Return records like ``SqliteStore.records``."""
        return self._ask(lambda: self._reader.records(deployment, at, last))

    def after(self, tick: int, *, deployment: DeploymentId | None = None, limit: int) -> list[TickRecord]:
        """Return up to ``limit`` records that follow a tick, oldest first."""
        return self._ask(lambda: self._reader.after(tick, deployment, limit))

    def tick(self, tick: int, *, deployment: DeploymentId) -> TickRecord | None:
        """Return the record of one tick, with one deployment only; None where there is none."""
        return self._ask(lambda: self._reader.tick(tick, deployment))

    def last_action(self, deployment: DeploymentId) -> TickRecord | None:
        """Return the newest record in which something was to be done for a deployment."""
        return self._ask(lambda: self._reader.last_action(deployment))

    def deployments(self) -> list[DeploymentId]:
        """Return every deployment that was ever recorded, sorted."""
        return self._ask(self._reader.deployments)

    def load(self) -> Checkpoint | None:
        """Return what was kept as of the last tick; None before the first."""
        row = self._ask(lambda: self._connection.execute("SELECT body FROM state").fetchone())
        if row is None:
            return None
        try:
            state = load_state(zlib.decompress(row[0]))
        except (ValidationError, zlib.error) as exc:
            msg = f"{self._path}: the planner's memory cannot be read; was it written by another version? ({exc})"
            raise StoreError(msg) from exc
        histories, _ = self._ask(lambda: read_histories(self._connection))
        return Checkpoint(state=state, histories=histories, pieces=self._ask(lambda: read_pieces(self._connection)))

    def everything(self, kind: str) -> list[bytes]:
        """Return all texts of one kind of the shelf."""
        return self._ask(lambda: shelf.everything(self._connection, kind))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except sqlite3.Error as exc:
            raise store_error(self._path, exc) from exc
