"""Open the store's file, for writing or for reading only."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from controller.ports import StoreError
from controller.store.failure import store_error
from controller.store.schema import MIGRATIONS, check_version, migrate

_WRITER_WAITS_S = 1.0
"""How long a tick waits for another process that has the file locked."""
_READER_WAITS_S = 5.0
_WAL_LIMIT_BYTES = 16 << 20
_CHECKED_BYTES = 128 << 20
"""Up to this size the whole file is checked when the controller starts (about a second)."""
_MAGIC = b"SQLite format 3\x00"


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open or create the file, check it, and bring it to this version.

    ``synchronous=FULL`` makes every commit outlive a power failure; ``kill -9`` needs only the
    write-ahead log. It costs one fsync for each commit, two for each tick.

    Raises:
        StoreError: it belongs to another program or a newer version.
        sqlite3.Error: it cannot be opened, or is damaged.

    """
    connection = sqlite3.connect(path, timeout=_WRITER_WAITS_S, isolation_level=None, check_same_thread=False)
    try:
        if path.exists() and path.stat().st_size <= _CHECKED_BYTES:
            _check_content(connection)
        if check_version(connection, path) == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
        migrate(connection, path)
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the file read-only, beside a controller that writes or after one that was killed.

    Raises:
        StoreError: there is no such file, or it is no readable store of this version.

    """
    if not path.exists():
        msg = f"{path}: there is no store here; start a controller, or name its store with --store"
        raise StoreError(msg)
    if path.is_file() and path.stat().st_size > 0 and not looks_like_a_database(path):
        msg = f"{path}: is not a database; name the store of a controller with --store"
        raise StoreError(msg)
    try:
        connection = sqlite3.connect(_read_only_address(path), uri=True, timeout=_READER_WAITS_S, isolation_level=None)
        version = check_version(connection, path)
    except sqlite3.Error as exc:
        raise store_error(path, exc) from exc
    if version < len(MIGRATIONS):
        connection.close()
        state = "is empty" if version == 0 else f"has the older store version {version}"
        msg = f"{path}: {state}; start the controller on it once"
        raise StoreError(msg)
    return connection


def _read_only_address(path: Path) -> str:
    """Beside a write-ahead log SQLite keeps a file of its own; a copy on a read-only disk has neither."""
    log = path.with_name(f"{path.name}-wal")
    frozen = not log.exists() and not os.access(path.parent, os.W_OK)
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if frozen else ''}"


def looks_like_a_database(path: Path) -> bool:
    """Whether a file begins as SQLite's files do. Raises OSError when it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _check_content(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        error = sqlite3.DatabaseError(verdict)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
