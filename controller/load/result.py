"""A finished run, and reading it back from the file that ``--out`` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from controller.errors import BadInputError
from controller.load.row import RequestRow, dump_row, load_row
from controller.load.summary import LoadSummary, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """Every request in order of its schedule, and the sum of them. ``started_at`` is Unix time."""

    started_at: float
    rows: tuple[RequestRow, ...]
    summary: LoadSummary

    @classmethod
    def of(cls, rows: Iterable[RequestRow]) -> LoadResult:
        """Put rows in order and sum them up."""
        ordered = tuple(sorted(rows, key=lambda row: row.index))
        started_at = ordered[0].at - ordered[0].scheduled_s if ordered else 0.0
        return cls(started_at=started_at, rows=ordered, summary=summarise(ordered))


def read_load_result(path: Path) -> LoadResult:
    """Read what ``foreserve load --out`` wrote. A last line cut short by a kill is left out.

    Raises:
        BadInputError: the file cannot be read, or a line is no request.

    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as exc:
        msg = f"{path}: cannot be read: {exc.strerror or exc}"
        raise BadInputError(msg) from exc
    lines.pop()  # what follows the last line end: nothing, or a line that was cut short
    return LoadResult.of(_row(path, number, line) for number, line in enumerate(lines, start=1))


def _row(path: Path, number: int, line: bytes) -> RequestRow:
    try:
        return load_row(line)
    except ValidationError as exc:
        msg = f"{path}:{number}: is no request written by `foreserve load --out`: {exc.errors()[0]['msg']}"
        raise BadInputError(msg) from exc


class RowFile:
    """Writes rows as they come. A disk that is full ends the writing, not the run: see ``problem``."""

    def __init__(self, path: Path) -> None:
        """Create or empty the file. Raises BadInputError when that is not possible."""
        self._path = path
        self.problem: str | None = None
        try:
            self._file = path.open("wb")
        except OSError as exc:
            msg = f"{path}: cannot be written: {exc.strerror or exc}"
            raise BadInputError(msg) from exc

    def write(self, row: RequestRow) -> None:
        """Append one row."""
        if self.problem is None:
            self._attempt(lambda: self._file.write(dump_row(row) + b"\n"))

    def close(self) -> None:
        """Flush and close."""
        self._attempt(self._file.close)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as exc:
            self.problem = f"{self._path}: not all requests could be written: {exc.strerror or exc}"
