"""Tables of the store, and how an older file becomes one of this version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from controller.ports import StoreError

Migration = Callable[[sqlite3.Connection], None]

APPLICATION_ID = 0x46535256
"""Marks a file as ours ("FSRV"), so that another program's database is never written to."""

_TABLES = """
CREATE TABLE dictionary (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL);
CREATE TABLE deployments (
    id INTEGER PRIMARY KEY, application TEXT NOT NULL, deployment TEXT NOT NULL, UNIQUE (application, deployment));
CREATE TABLE ticks (tick INTEGER PRIMARY KEY, at REAL NOT NULL, finished INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX ticks_by_time ON ticks (at);
CREATE TABLE entries (
    tick INTEGER NOT NULL, deployment INTEGER NOT NULL, acted INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX entries_by_tick ON entries (tick, deployment);
CREATE INDEX entries_that_acted ON entries (deployment, tick) WHERE acted;
CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), tick INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, deployment INTEGER NOT NULL, signal TEXT NOT NULL,
    step_s REAL NOT NULL, phase_s REAL NOT NULL, UNIQUE (deployment, signal));
CREATE TABLE history (step_s REAL NOT NULL, bin INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX history_by_bin ON history (step_s, bin)
"""


def _create(connection: sqlite3.Connection) -> None:
    """Version 1.

    A tick is one row of ``ticks`` (the record without its deployments) and one row of ``entries`` for
    each deployment, so that one deployment is read without the others. Rows are written in the order of
    ticks only. ``history`` has one row for each time bin, with every series in it, for the same reason.
    """
    for statement in _TABLES.split(";"):
        connection.execute(statement)


def _add_learned(connection: sqlite3.Connection) -> None:
    """Version 2: what the forecaster learned, a row for each piece."""
    connection.execute(
        "CREATE TABLE learned (deployment INTEGER NOT NULL, name TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL, "
        "PRIMARY KEY (deployment, name))"
    )
    connection.execute("CREATE INDEX learned_by_time ON learned (at)")


def _add_shelf(connection: sqlite3.Connection) -> None:
    """Version 3: what people and alerts have asked for."""
    connection.execute(
        "CREATE TABLE shelf (kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name))"
    )


MIGRATIONS: tuple[Migration, ...] = (_create, _add_learned, _add_shelf)
"""``MIGRATIONS[n]`` turns version n into n + 1; version 0 is an empty file."""


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the file to the newest version, each step in one transaction.

    Raises:
        StoreError: it belongs to another program or to a newer version.
        sqlite3.Error: it could not be read or written.

    """
    version = check_version(connection, path, len(migrations))
    for index in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        migrations[index](connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {index + 1}")
        connection.execute("COMMIT")


def check_version(connection: sqlite3.Connection, path: Path, newest: int = len(MIGRATIONS)) -> int:
    """Return the version of the file, 0 for an empty one.

    Raises:
        StoreError: it belongs to another program or to a newer version.
        sqlite3.Error: it could not be read.

    """
    owner = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and owner != APPLICATION_ID:
        msg = f"{path}: is a database of another program; choose another file for the store"
        raise StoreError(msg)
    version = _pragma(connection, "user_version")
    if version > newest:
        msg = (
            f"{path}: was written by a newer foreserve (store version {version}, this one knows {newest}); "
            "install that version, or choose another file for the store"
        )
        raise StoreError(msg)
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
