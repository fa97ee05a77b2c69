"""The outbox: events that are to be delivered, in one SQLite file beside the store.

What a record tells, and that it was told, is one transaction; so nothing is told twice or forgotten, however the
process ends. One file may be read and written by several processes.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from controller.domain.event import Event
from controller.errors import UnavailableError
from controller.webhooks.news import Told

T = TypeVar("T")

_APPLICATION_ID = 0x46534F42
"""Marks a file as ours ("FSOB")."""
_VERSION = 1
_WAITS_S = 5.0
_MOST_PENDING = 10_000
_MOST_DEAD = 1000

_TABLES = """
CREATE TABLE events (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at REAL NOT NULL, body BLOB NOT NULL);
CREATE TABLE deliveries (
    event INTEGER NOT NULL, sink TEXT NOT NULL, dead INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    next_at REAL NOT NULL, why TEXT NOT NULL DEFAULT '', PRIMARY KEY (sink, event));
CREATE INDEX deliveries_by_event ON deliveries (event);
CREATE TABLE told (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL)
"""

_EVENT = TypeAdapter(Event)
_TOLD = TypeAdapter(Told)


class OutboxError(UnavailableError):
    """The outbox could not be read or written; the message names the file and why."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one sink. ``attempts`` failed so far, the last because of ``why``."""

    number: int
    sink: str
    event: Event
    attempts: int
    next_at: float
    why: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is left for one sink. ``oldest_at`` is when the oldest event that waits was (Unix seconds)."""

    sink: str
    pending: int
    dead: int
    oldest_at: float | None


def outbox_path(store: Path) -> Path:
    """Return where the outbox of a store is."""
    return store.with_name(f"{store.stem}.outbox{store.suffix}")


class Outbox:
    """Every method may be called from any thread, and raises OutboxError."""

    def __init__(self, path: Path) -> None:
        """Open or create the file."""
        self._path = path
        self._guard = threading.RLock()
        self._connection = self._ask(lambda: _open(path))

    def told(self) -> Told | None:
        """Return what was told so far; None before the first time, or when another version wrote it."""
        row = self._ask(lambda: self._connection.execute("SELECT body FROM told").fetchone())
        try:
            return _TOLD.validate_json(row[0]) if row else None
        except ValidationError:
            return None

    def take(self, events: Sequence[tuple[Event, Sequence[str]]], told: Told, *, now: float) -> int:
        """Write events, each with the sinks that are to have it, and what is told with them.

        Of more than 10,000 events for one sink the oldest become dead letters; returns how many did.
        """

        def write() -> int:
            with self._transaction() as run:
                sinks = set[str]()
                for event, wanted in events:
                    if not wanted:
                        continue
                    number = run(
                        "INSERT OR IGNORE INTO events (id, at, body) VALUES (?, ?, ?)",
                        (event.id, event.at, _EVENT.dump_json(event)),
                    ).lastrowid
                    number = run("SELECT number FROM events WHERE id = ?", (event.id,)).fetchone()[0]
                    for sink in wanted:
                        run(
                            "INSERT OR IGNORE INTO deliveries (event, sink, next_at) VALUES (?, ?, ?)",
                            (number, sink, now),
                        )
                    sinks |= set(wanted)
                run("INSERT OR REPLACE INTO told (id, body) VALUES (1, ?)", (_TOLD.dump_json(told),))
                return sum(_overflow(run, sink) for sink in sorted(sinks))

        return self._ask(write)

    def next(self, sink: str) -> Delivery | None:
        """Return the oldest event that waits for a sink, due or not."""
        rows = self._select("d.sink = ? AND NOT d.dead", (sink,), 1)
        return rows[0] if rows else None

    def delivered(self, delivery: Delivery) -> None:
        """Forget a delivery that was made."""

        def write() -> None:
            with self._transaction() as run:
                run("DELETE FROM deliveries WHERE sink = ? AND event = ?", (delivery.sink, delivery.number))
                _forget_events(run)

        self._ask(write)

    def put_off(self, delivery: Delivery, *, until: float, why: str) -> None:
        """Note an attempt that failed, and when the next one is due."""
        self._note(delivery, "attempts = attempts + 1, next_at = ?, why = ?", (until, why))

    def give_up(self, delivery: Delivery, *, why: str) -> None:
        """Make a delivery a dead letter; of more than a thousand for one sink the oldest are forgotten."""
        self._note(delivery, "attempts = attempts + 1, dead = 1, why = ?", (why,))

    def retry(self, *, sink: str | None, event: str | None, now: float) -> int:
        """Let dead letters wait again: all, or those of a sink, or of an event's id. Returns how many."""

        def write() -> int:
            with self._transaction() as run:
                return run(
                    "UPDATE deliveries SET dead = 0, attempts = 0, next_at = ?1 WHERE dead "
                    "AND (?2 IS NULL OR sink = ?2) "
                    "AND (?3 IS NULL OR event IN (SELECT number FROM events WHERE id = ?3))",
                    (now, sink, event),
                ).rowcount

        return self._ask(write)

    def drop(self, sink: str) -> None:
        """Forget everything for a sink that is no more."""

        def write() -> None:
            with self._transaction() as run:
                run("DELETE FROM deliveries WHERE sink = ?", (sink,))
                _forget_events(run)

        self._ask(write)

    def dead(self, *, most: int = 100) -> list[Delivery]:
        """Return the newest dead letters, newest first."""
        return self._select("d.dead", (), most, newest=True)

    def backlogs(self) -> dict[str, Backlog]:
        """Return what is left for every sink that has something left."""
        rows = self._ask(
            lambda: self._connection.execute(
                "SELECT d.sink, sum(NOT d.dead), sum(d.dead), min(CASE WHEN d.dead THEN NULL ELSE e.at END) "
                "FROM deliveries d JOIN events e ON e.number = d.event GROUP BY d.sink"
            ).fetchall()
        )
        return {row[0]: Backlog(*row) for row in rows}

    def close(self) -> None:
        """Close the file."""
        with self._guard, suppress(sqlite3.Error):
            self._connection.close()

    def _note(self, delivery: Delivery, change: str, values: tuple[float | str, ...]) -> None:
        def write() -> None:
            with self._transaction() as run:
                run(
                    f"UPDATE deliveries SET {change} WHERE sink = ? AND event = ?",  # noqa: S608 - a text of ours
                    (*values, delivery.sink, delivery.number),
                )
                run(
                    "DELETE FROM deliveries WHERE dead AND sink = ?1 AND event NOT IN (SELECT event FROM deliveries "
                    "WHERE dead AND sink = ?1 ORDER BY event DESC LIMIT ?2)",
                    (delivery.sink, _MOST_DEAD),
                )
                _forget_events(run)

        self._ask(write)

    def _select(self, where: str, values: tuple[str, ...], most: int, *, newest: bool = False) -> list[Delivery]:
        order = "DESC" if newest else "ASC"
        rows = self._ask(
            lambda: self._connection.execute(
                "SELECT d.event, d.sink, e.body, d.attempts, d.next_at, d.why "  # noqa: S608 - a text of ours
                f"FROM deliveries d JOIN events e ON e.number = d.event WHERE {where} ORDER BY d.event {order} LIMIT ?",
                (*values, most),
            ).fetchall()
        )
        return [Delivery(row[0], row[1], _EVENT.validate_json(row[2]), *row[3:]) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection.execute
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _ask(self, question: Callable[[], T]) -> T:
        with self._guard:
            try:
                return question()
            except (sqlite3.Error, OSError) as error:
                msg = f"{self._path}: the outbox of webhooks cannot be used ({error})"
                raise OutboxError(msg) from error


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAITS_S, isolation_level=None, check_same_thread=False)
    try:
        _check_owner(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_owner(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if tables and (owner, version) != (_APPLICATION_ID, _VERSION):
        msg = "it is a database of another program or version; move it away"
        raise sqlite3.DatabaseError(msg)


def _overflow(run: Callable[..., sqlite3.Cursor], sink: str) -> int:
    return run(
        "UPDATE deliveries SET dead = 1, why = ?3 WHERE NOT dead AND sink = ?1 AND event NOT IN (SELECT event "
        "FROM deliveries WHERE NOT dead AND sink = ?1 ORDER BY event DESC LIMIT ?2)",
        (sink, _MOST_PENDING, f"more than {_MOST_PENDING} events waited"),
    ).rowcount


def _forget_events(run: Callable[..., sqlite3.Cursor]) -> None:
    """Those that nobody waits for any more; each look costs an index entry."""
    run("DELETE FROM events WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE event = number)")
