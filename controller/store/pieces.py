"""What was learned, piece by piece: a row each, replaced by a newer one of the same name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from controller.domain.identity import DeploymentId
from controller.domain.lasting import Piece


def write_pieces(
    connection: sqlite3.Connection, pieces: Sequence[Piece], number_of: Callable[[DeploymentId], int]
) -> None:
    """Write pieces inside the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO learned (deployment, name, at, body) VALUES (?, ?, ?, ?)",
        [(number_of(piece.deployment), piece.name, piece.at, piece.body) for piece in pieces],
    )


def forget_pieces(connection: sqlite3.Connection, *, before: float) -> None:
    """Remove what was last true earlier than ``before``."""
    connection.execute("DELETE FROM learned WHERE at < ?", (before,))


def read_pieces(connection: sqlite3.Connection) -> tuple[Piece, ...]:
    """Read all pieces."""
    rows = connection.execute(
        "SELECT d.application, d.deployment, l.name, l.at, l.body "
        "FROM learned l JOIN deployments d ON d.id = l.deployment ORDER BY l.deployment, l.name"
    )
    return tuple(
        Piece(deployment=DeploymentId(application, deployment), name=name, at=at, body=body)
        for application, deployment, name, at, body in rows
    )
