"""Small texts by kind and name: what people and alerts have asked for."""

from __future__ import annotations

import sqlite3


def put(connection: sqlite3.Connection, kind: str, name: str, body: bytes) -> None:
    """Write one inside the caller's transaction."""
    connection.execute("INSERT OR REPLACE INTO shelf (kind, name, body) VALUES (?, ?, ?)", (kind, name, body))


def drop(connection: sqlite3.Connection, kind: str, name: str) -> None:
    """Remove one inside the caller's transaction."""
    connection.execute("DELETE FROM shelf WHERE kind = ? AND name = ?", (kind, name))


def everything(connection: sqlite3.Connection, kind: str) -> list[bytes]:
    """Return all of a kind, by name."""
    rows = connection.execute("SELECT body FROM shelf WHERE kind = ? ORDER BY name", (kind,))
    return [bytes(row[0]) for row in rows]
