"""What an SQLite error means to the person who runs the controller."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from controller.ports import StoreError

_PRIMARY = 0xFF
"""SQLite's extended result codes carry the primary one in the low byte."""

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free space on it, or move the store",
    sqlite3.SQLITE_READONLY: "it cannot be written; give this user write permission to the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that the directory exists and this user may write there",
    sqlite3.SQLITE_PERM: "access was denied; give this user permission to the file and its directory",
    sqlite3.SQLITE_BUSY: "another process holds it locked; close what has it open (an sqlite3 shell, a backup)",
    sqlite3.SQLITE_LOCKED: "another process holds it locked; close what has it open (an sqlite3 shell, a backup)",
    sqlite3.SQLITE_IOERR: "the disk failed or is full; check free space, quotas and file size limits",
    sqlite3.SQLITE_CORRUPT: "its content is damaged; the controller moves it aside and starts a fresh one",
    sqlite3.SQLITE_NOTADB: "it is not a database; name the store of a controller, or another file",
    sqlite3.SQLITE_TOOBIG: "a record is too large for it",
}


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Name the file, what happened, and what to do."""
    advice = _ADVICE.get(_code(error), "check the file and its disk")
    return StoreError(f"{path}: {error}: {advice}")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is broken, rather than its disk, its permissions or its use."""
    return _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY
