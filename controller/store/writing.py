"""Write records and planner state inside the caller's transaction, and forget old ones."""

from __future__ import annotations

import dataclasses
import sqlite3
import zlib

from controller.codec import dump_deployment, dump_record, dump_state
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.state import PlannerState
from controller.store.packing import Packer, create_packer, stored_packer

_FORGET_AT_ONCE = 64
"""Ticks removed in one go; more than come in, so a backlog shrinks without a long pause."""


class RecordWriter:
    """Statements on one connection. What it remembers is dropped with it after a failed transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._packer = stored_packer(connection)
        rows = connection.execute("SELECT application, deployment, id FROM deployments")
        self._numbers = {DeploymentId(row[0], row[1]): int(row[2]) for row in rows}
        self._written: tuple[int, dict[DeploymentId, DeploymentRecord]] = (-1, {})

    def write(self, record: TickRecord, state: PlannerState, *, finished: bool) -> None:
        """Write a tick, over what was there for it, and the state; of deployments only what changed since."""
        packer = self._packer_for(record)
        tick, written = self._written
        news = [entry for entry in record.deployments if tick != record.tick or written.get(entry.decision.id) != entry]
        head = packer.pack(dump_record(dataclasses.replace(record, deployments=())))
        self._connection.execute(
            "INSERT OR REPLACE INTO ticks (tick, at, finished, body) VALUES (?, ?, ?, ?)",
            (record.tick, record.at, finished, head),
        )
        self._connection.executemany(
            "INSERT INTO entries (tick, deployment, acted, body) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (tick, deployment) DO UPDATE SET acted = excluded.acted, body = excluded.body",
            [
                (
                    record.tick,
                    self.number(entry.decision.id),
                    entry.decision.action is not Action.NONE,
                    packer.pack(dump_deployment(entry)),
                )
                for entry in news
            ],
        )
        self._written = record.tick, {entry.decision.id: entry for entry in record.deployments}
        self._connection.execute(
            "INSERT OR REPLACE INTO state (id, tick, body) VALUES (1, ?, ?)",
            (record.tick, zlib.compress(dump_state(state), 1)),
        )

    def number(self, deployment: DeploymentId) -> int:
        """Return the row number of a deployment, new if need be."""
        known = self._numbers.get(deployment)
        if known is None:
            cursor = self._connection.execute(
                "INSERT INTO deployments (application, deployment) VALUES (?, ?)",
                (deployment.application, deployment.deployment),
            )
            known = self._numbers[deployment] = int(cursor.lastrowid or 0)
        return known

    def forget(self, *, before: float, excess: int) -> int:
        """Remove the oldest ticks: those earlier than ``before``, and ``excess`` more; never the newest.

        Returns how many were removed; at most a few at once.
        """
        rows = self._connection.execute("SELECT tick, at FROM ticks ORDER BY tick LIMIT ?", (_FORGET_AT_ONCE + 1,))
        oldest = rows.fetchall()[:-1]
        count = max((index + 1 for index, (_, at) in enumerate(oldest) if index < excess or at < before), default=0)
        if count:
            newest_gone = oldest[count - 1][0]
            self._connection.execute("DELETE FROM ticks WHERE tick <= ?", (newest_gone,))
            self._connection.execute("DELETE FROM entries WHERE tick <= ?", (newest_gone,))
        return count

    def _packer_for(self, record: TickRecord) -> Packer:
        if not self._packer.has_dictionary and record.deployments:
            self._packer = create_packer(self._connection, dump_deployment(record.deployments[0]))
        return self._packer
