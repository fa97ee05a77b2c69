"""Demand histories on disk: one row for each time bin, with every series in it.

Histories are large (hundreds of series of thousands of bins) and each tick adds a bin or two to every
series. So only bins that are new, or were the newest and may have changed, are written; the rest is there
already. Bins older than every series' start are removed.
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
    """A series as it was last written; ``first`` is its oldest bin then."""

    number: int
    grid: _Grid
    first: int


_Key = tuple[DeploymentId, Signal]


@dataclass(frozen=True, slots=True)
class Written:
    """What the file is known to hold: the series, and for each step the first bin still to be written."""

    series: Mapping[_Key, _Series]
    next_bin: Mapping[float, int]


NOTHING_WRITTEN = Written({}, {})


def write_histories(
    connection: sqlite3.Connection,
    histories: Sequence[HistoryEntry],
    written: Written,
    number_of: Callable[[DeploymentId], int],
) -> Written:
    """Write what changed, inside the caller's transaction; return what is then in the file."""
    histories = [entry for entry in histories if entry[2].values]
    series = {key: _register(connection, key, history, written, number_of) for key, history in _keyed(histories)}
    next_bin: dict[float, int] = {}
    for step_s in sorted({history.step_s for _, _, history in histories}):
        group = [(series[deployment, signal], h) for deployment, signal, h in histories if h.step_s == step_s]
        begin = _first_to_write(group, written, {s.number for s in written.series.values()}, step_s)
        next_bin[step_s] = _write_bins(connection, group, begin, step_s)
        oldest, end = _extent(group)
        connection.execute("DELETE FROM history WHERE step_s = ? AND (bin < ? OR bin >= ?)", (step_s, oldest, end))
    for step_s in written.next_bin.keys() - next_bin.keys():
        connection.execute("DELETE FROM history WHERE step_s = ?", (step_s,))
    return Written(series, next_bin)


def read_histories(connection: sqlite3.Connection) -> tuple[tuple[HistoryEntry, ...], Written]:
    """Read all series back, and what the file is then known to hold."""
    entries: list[HistoryEntry] = []
    series: dict[_Key, _Series] = {}
    next_bin: dict[float, int] = {}
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
        series[key] = _Series(number, _Grid(step_s, phase_s), first)
        last = first + len(values) - 1
        next_bin[step_s] = max(next_bin.get(step_s, last), last)
    return tuple(entries), Written(series, next_bin)


def _keyed(histories: Sequence[HistoryEntry]) -> list[tuple[_Key, History]]:
    return [((deployment, signal), history) for deployment, signal, history in histories]


def _register(
    connection: sqlite3.Connection,
    key: _Key,
    history: History,
    written: Written,
    number_of: Callable[[DeploymentId], int],
) -> _Series:
    """Find the number of a series. One whose bins moved gets a new number, so old values are not its own."""
    index = round(history.start / history.step_s)
    grid = _Grid(history.step_s, history.start - index * history.step_s)
    known = written.series.get(key)
    if known is not None and known.grid.matches(grid):
        return _Series(known.number, known.grid, index)
    number = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM series").fetchone()[0]
    connection.execute(
        "INSERT OR REPLACE INTO series (id, deployment, signal, step_s, phase_s) VALUES (?, ?, ?, ?, ?)",
        (number, number_of(key[0]), key[1].value, grid.step_s, grid.phase_s),
    )
    return _Series(number, grid, index)


def _first_to_write(
    group: Sequence[tuple[_Series, History]], written: Written, old_numbers: set[int], step_s: float
) -> int:
    """Go on where the last write ended, or further back where a series is new or has grown into the past."""
    first_of = {series.number: series.first for series in written.series.values()}
    begin = written.next_bin.get(step_s)
    for series, _ in group:
        grew = series.number not in old_numbers or series.first < first_of[series.number]
        if begin is None or (grew and series.first < begin):
            begin = series.first
    return max(begin or 0, _extent(group)[0])


def _extent(group: Sequence[tuple[_Series, History]]) -> tuple[int, int]:
    """The oldest bin of all series, and the one after the newest."""
    return (
        min(series.first for series, _ in group),
        max(series.first + len(history.values) for series, history in group),
    )


def _write_bins(
    connection: sqlite3.Connection, group: Sequence[tuple[_Series, History]], begin: int, step_s: float
) -> int:
    """Write bins from ``begin`` on, as many as one tick allows; return where to go on next time."""
    _, end = _extent(group)
    stop = min(end, begin + max(2, _VALUES_AT_ONCE // len(group)))
    rows = []
    for number in range(begin, stop):
        pairs = [
            (series.number, history.values[number - series.first])
            for series, history in group
            if 0 <= number - series.first < len(history.values)
        ]
        packed = np.array([(s, math.nan if value is None else value) for s, value in pairs], dtype=_PAIR)
        rows.append((step_s, number, packed.tobytes()))
    connection.executemany("INSERT OR REPLACE INTO history (step_s, bin, body) VALUES (?, ?, ?)", rows)
    return stop if stop < end else end - 1


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
