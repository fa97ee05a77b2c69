"""Demand histories on disk: one row for each time bin, with every series in it.

Histories are large (hundreds of series of thousands of bins) and each tick adds a bin or two to every
series. So only bins that are new, or were the newest and may have changed, are written and need be given;
the rest is there already. Bins older than every series' start are removed; until then a series that lost
its oldest bins earlier than others comes back with them.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.codec import HistoryEntry
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Tail
from controller.domain.signals import Signal
from controller.domain.snapshot import History

_VALUES_AT_ONCE = 100_000
"""Values written in one tick at most. A longer backlog, such as a back-filled past, takes several ticks."""

_PAIR = np.dtype([("series", "<u4"), ("value", "<f8")])
"""One value of one series. NaN is an unknown value; a series without a pair does not reach that bin."""

_SAME_PHASE = 1e-3
"""Bins that start within this share of a step of each other are the same bin."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the bins of a series are: bin n begins at ``phase_s + n * step_s``."""

    step_s: float
    phase_s: float

    def matches(self, other: _Grid) -> bool:
        """Whether bins of equal numbers are the same time."""
        return self.step_s == other.step_s and abs(self.phase_s - other.phase_s) < _SAME_PHASE * self.step_s


@dataclass(frozen=True, slots=True)
class _Series:
    """A series in the file: its bins from ``first`` up to, but without, ``end``, and the value of the last."""

    number: int
    grid: _Grid
    first: int
    end: int
    last: float | None


Key = tuple[DeploymentId, Signal]
Written = Mapping[Key, _Series]
"""What the file is known to hold."""

NOTHING_WRITTEN: Written = {}


@dataclass(frozen=True, slots=True)
class _Task:
    """One series to write: what the file holds of it (nothing of a new one), and its values from ``first`` on.

    The series itself began at ``begins``.
    """

    key: Key
    held: _Series | None
    number: int
    grid: _Grid
    begins: int
    first: int
    values: tuple[float | None, ...]

    @property
    def end(self) -> int:
        return self.first + len(self.values)

    def begin(self) -> int:
        """Return the first bin to write; ``end`` when there is none. The last one held may have changed."""
        if self.held is None or self.first < self.held.first:
            return self.first
        resume = max(self.first, min(self.held.end, self.end))
        changed = resume > self.first and self.values[resume - 1 - self.first] != self.held.last
        return resume - 1 if changed else resume

    def done(self, stop: int) -> _Series:
        """Return what the file holds once the bins before ``stop`` were written."""
        end = min(self.end, stop)
        if self.held is not None and self.first >= self.held.first:
            end = max(end, min(self.held.end, self.end))
        end = max(end, self.first)
        last = self.values[end - 1 - self.first] if end > self.first else None
        begins = self.begins if self.held is None or self.first == self.begins else max(self.begins, self.held.first)
        return _Series(self.number, self.grid, begins, end, last)


def write_histories(
    connection: sqlite3.Connection,
    tails: Sequence[Tail],
    written: Written,
    number_of: Callable[[DeploymentId], int],
) -> Written:
    """Write what changed, inside the caller's transaction; return what is then in the file."""
    tasks = [_task(connection, tail, written, number_of) for tail in tails if tail.history.values]
    now_written: dict[Key, _Series] = {}
    steps = {task.grid.step_s for task in tasks}
    for step_s in sorted(steps):
        group = [task for task in tasks if task.grid.step_s == step_s]
        stop = _write_bins(connection, group, step_s)
        now_written |= {task.key: task.done(stop) for task in group}
    for step_s in {series.grid.step_s for series in written.values()} - steps if tasks else ():
        connection.execute("DELETE FROM history WHERE step_s = ?", (step_s,))
    return now_written


def read_histories(connection: sqlite3.Connection) -> tuple[tuple[HistoryEntry, ...], Written]:
    """Read all series back, and what the file is then known to hold."""
    entries: list[HistoryEntry] = []
    written: dict[Key, _Series] = {}
    known = connection.execute(
        "SELECT s.id, d.application, d.deployment, s.signal, s.step_s, s.phase_s "
        "FROM series s JOIN deployments d ON d.id = s.deployment ORDER BY s.id"
    ).fetchall()
    columns = {step_s: _columns(connection, step_s) for step_s in sorted({row[4] for row in known})}
    for number, application, deployment, signal, step_s, phase_s in known:
        if number not in columns[step_s]:
            continue
        first, values = columns[step_s][number]
        key = (DeploymentId(application, deployment), Signal(signal))
        entries.append((*key, History(start=phase_s + first * step_s, step_s=step_s, values=values)))
        written[key] = _Series(number, _Grid(step_s, phase_s), first, first + len(values), values[-1])
    return tuple(entries), written


def held_until(written: Written, deployment: DeploymentId, signal: Signal) -> float | None:
    """Return the end of what the file holds of a series (Unix seconds); None when it holds nothing."""
    held = written.get((deployment, signal))
    return None if held is None else held.end * held.grid.step_s + held.grid.phase_s


def _task(
    connection: sqlite3.Connection, tail: Tail, written: Written, number_of: Callable[[DeploymentId], int]
) -> _Task:
    """Find the number of a series. One whose bins moved gets a new number, so old values are not its own."""
    history = tail.history
    key = (tail.deployment, tail.signal)
    first = round(history.start / history.step_s)
    begins = round(tail.begins / history.step_s)
    grid = _Grid(history.step_s, history.start - first * history.step_s)
    held = written.get(key)
    if held is not None and held.grid.matches(grid):
        return _Task(key, held, held.number, held.grid, begins, first, history.values)
    number = int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM series").fetchone()[0])
    connection.execute(
        "INSERT OR REPLACE INTO series (id, deployment, signal, step_s, phase_s) VALUES (?, ?, ?, ?, ?)",
        (number, number_of(tail.deployment), tail.signal.value, grid.step_s, grid.phase_s),
    )
    return _Task(key, None, number, grid, begins, first, history.values)


def _write_bins(connection: sqlite3.Connection, group: Sequence[_Task], step_s: float) -> int:
    """Write new bins, as many as one tick allows, and drop those outside of every series.

    Returns where the written ones stop.
    """
    oldest, newest = min(task.begins for task in group), max(task.end for task in group)
    connection.execute("DELETE FROM history WHERE step_s = ? AND (bin < ? OR bin >= ?)", (step_s, oldest, newest))
    begin = min((begin for task in group if (begin := task.begin()) < task.end), default=newest)
    stop = min(newest, begin + max(2, _VALUES_AT_ONCE // len(group)))
    rows = [(step_s, number, _pack(connection, group, step_s, number)) for number in range(begin, stop)]
    connection.executemany("INSERT OR REPLACE INTO history (step_s, bin, body) VALUES (?, ?, ?)", rows)
    return stop


def _pack(connection: sqlite3.Connection, group: Sequence[_Task], step_s: float, number: int) -> bytes:
    """All values of one bin: those that are given, and those that the file holds of series given from later on."""
    held = {task.number for task in group if task.begins <= number < task.first}
    pairs = [pair for pair in _row(connection, step_s, number) if pair[0] in held] if held else []
    pairs += [
        (task.number, math.nan if (value := task.values[number - task.first]) is None else value)
        for task in group
        if task.first <= number < task.end
    ]
    return np.array(pairs, dtype=_PAIR).tobytes()


def _row(connection: sqlite3.Connection, step_s: float, number: int) -> list[tuple[int, float]]:
    body = connection.execute("SELECT body FROM history WHERE step_s = ? AND bin = ?", (step_s, number)).fetchone()
    pairs: list[tuple[int, float]] = [] if body is None else np.frombuffer(body[0], dtype=_PAIR).tolist()
    return pairs


def _columns(connection: sqlite3.Connection, step_s: float) -> dict[int, tuple[int, tuple[float | None, ...]]]:
    """All bins of one step by series: the number of the first bin, and the values from there on."""
    limits = "SELECT min(bin), max(bin) FROM history WHERE step_s = ?"
    low, high = connection.execute(limits, (step_s,)).fetchone()
    if low is None:
        return {}
    rows: dict[int, npt.NDArray[np.float64]] = {}
    span: dict[int, tuple[int, int]] = {}
    for number, body in connection.execute("SELECT bin, body FROM history WHERE step_s = ? ORDER BY bin", (step_s,)):
        for series, value in np.frombuffer(body, dtype=_PAIR).tolist():
            if series not in rows:
                rows[series] = np.full(high - low + 1, np.nan)
            rows[series][number - low] = value
            span[series] = (span.get(series, (number,))[0], number)
    return {
        series: (
            first,
            tuple(
                None if math.isnan(value) else value for value in rows[series][first - low : last - low + 1].tolist()
            ),
        )
        for series, (first, last) in span.items()
    }
