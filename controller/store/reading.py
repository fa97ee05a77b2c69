"""Read records back from an open store."""

from __future__ import annotations

import dataclasses
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from controller.codec import load_deployment, load_record
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, OutcomeStatus
from controller.domain.record import DeploymentRecord, TickRecord
from controller.ports import StoreError
from controller.store.packing import Packer, stored_packer

_NEVER_RECORDED = "the controller stopped before the result was recorded"


class RecordReader:
    """Queries on one connection. Every answer is oldest first."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def records(self, deployment: DeploymentId | None, at: float | None, last: int | None) -> list[TickRecord]:
        """Return the newest ``last`` records that are not later than ``at``; all when both are None."""
        limit = last if last is not None else (1 if at is not None else -1)
        where, order, values = "", "t.tick DESC", []
        if at is not None:
            where, order, values = "WHERE t.at <= ?", "t.at DESC, t.tick DESC", [at]
        found = self._select(deployment, where, order, values, limit)
        return found[::-1]

    def after(self, tick: int, deployment: DeploymentId | None, limit: int) -> list[TickRecord]:
        """Return up to ``limit`` records that follow a tick."""
        return self._select(deployment, "WHERE t.tick > ?", "t.tick", [tick], limit)

    def tick(self, tick: int, deployment: DeploymentId) -> TickRecord | None:
        """Return the record of one tick, with one deployment only."""
        return next(iter(self._select(deployment, "WHERE t.tick = ?", "t.tick", [tick], 1)), None)

    def last_action(self, deployment: DeploymentId) -> TickRecord | None:
        """Return the newest record in which something was to be done for a deployment."""
        row = self._connection.execute(
            "SELECT max(tick) FROM entries WHERE acted AND deployment = ?", (self._number(deployment),)
        ).fetchone()
        if row[0] is None:
            return None
        return next(iter(self._select(deployment, "WHERE t.tick = ?", "t.tick", [row[0]], 1)), None)

    def deployments(self) -> list[DeploymentId]:
        """Every deployment that was ever recorded, sorted."""
        rows = self._connection.execute("SELECT application, deployment FROM deployments")
        return sorted(DeploymentId(*row) for row in rows)

    def _select(
        self, deployment: DeploymentId | None, where: str, order: str, values: list[Any], limit: int
    ) -> list[TickRecord]:
        join, head = "", ""
        if deployment is not None:
            # CROSS keeps SQLite from starting at the entries: ticks give the order, entries are looked up.
            join, head = "CROSS JOIN entries e ON e.tick = t.tick AND e.deployment = ?", ", e.body"
            values = [self._number(deployment), *values]
        rows = self._connection.execute(
            f"SELECT t.tick, t.finished, t.body{head} FROM ticks t {join} {where} ORDER BY {order} LIMIT ?",  # noqa: S608
            [*values, limit],
        ).fetchall()
        packer = stored_packer(self._connection)
        return [self._record(packer, row) for row in rows]

    def _record(self, packer: Packer, row: Sequence[Any]) -> TickRecord:
        tick, finished, body, *one = row
        bodies = one or self._bodies(tick)
        try:
            record = load_record(packer.unpack(body))
            entries = tuple(load_deployment(packer.unpack(entry)) for entry in bodies)
        except (ValidationError, zlib.error) as exc:
            msg = f"{self._path}: tick {tick} cannot be read back; was it written by another version? ({exc})"
            raise StoreError(msg) from exc
        if not finished:
            entries = tuple(_as_pending(entry) for entry in entries)
        return dataclasses.replace(record, deployments=entries)

    def _bodies(self, tick: int) -> Iterator[bytes]:
        rows = self._connection.execute("SELECT body FROM entries WHERE tick = ? ORDER BY rowid", (tick,))
        return (row[0] for row in rows)

    def _number(self, deployment: DeploymentId) -> int:
        row = self._connection.execute(
            "SELECT id FROM deployments WHERE application = ? AND deployment = ?",
            (deployment.application, deployment.deployment),
        ).fetchone()
        return int(row[0]) if row else 0


def _as_pending(entry: DeploymentRecord) -> DeploymentRecord:
    if entry.decision.action is Action.NONE:
        return entry
    outcome = dataclasses.replace(entry.outcome, status=OutcomeStatus.PENDING, detail=_NEVER_RECORDED)
    return dataclasses.replace(entry, outcome=outcome)
