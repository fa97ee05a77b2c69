"""Reads request traces: CSV, plain or gzip, bounded in size, with errors that name the line."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from controller.errors import BadInputError

HEADER = "t_s,prompt_tokens,output_tokens"
MAX_ROWS = 5_000_000
MAX_BYTES = 512_000_000
_MAX_LINE_BYTES = 1_000
_MAX_TOKENS = 10_000_000
_MAX_SECONDS = 100 * 365 * 86_400.0
_SHOWN_PROBLEMS = 5
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Requests in order of arrival: when (seconds from the start of the trace) and how large (tokens).

    ``length_s`` is how long it lasts, the pause after the last request included. ``out_of_order``
    counts the rows that came after a later one in the file; they were sorted.
    """

    name: str
    t_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    length_s: float
    out_of_order: int = 0

    def __len__(self) -> int:
        return len(self.t_s)

    def excerpt(self, name: str, start_s: float, duration_s: float) -> Trace:
        """Cut out the part from ``start_s`` for ``duration_s`` seconds; its time begins at 0."""
        rows = (self.t_s >= start_s) & (self.t_s < start_s + duration_s)
        return Trace(
            name=name,
            t_s=self.t_s[rows] - start_s,
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
            length_s=duration_s,
        )


def read_trace(path: Path, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> Trace:
    """Read a ``t_s,prompt_tokens,output_tokens`` file; gzip is recognised by its content.

    Raises:
        BadInputError: the file is missing, damaged, too large, empty, or has lines that are no
            requests; the first few of those are named with what would be right.

    """
    rows: list[tuple[float, int, int]] = []
    problems: list[str] = []
    for number, line in _lines(path, max_bytes):
        text = line.strip()
        if not text or (number == 1 and text == HEADER):
            continue
        try:
            rows.append(_row(text))
        except ValueError as exc:
            problems.append(f"{path}:{number}: {exc}")
            if len(problems) == _SHOWN_PROBLEMS:
                break
        if len(rows) > max_rows:
            msg = f"{path}: more than {max_rows:,} requests; give a shorter trace"
            raise BadInputError(msg)
    if problems:
        msg = "\n".join([*problems, f"Expected lines like 12.5,310,42 under the header {HEADER}"])
        raise BadInputError(msg)
    if not rows:
        msg = f"{path}: has no requests; expected lines like 12.5,310,42 under the header {HEADER}"
        raise BadInputError(msg)
    return _sorted(path.name, rows)


def _row(text: str) -> tuple[float, int, int]:
    fields = text.split(",")
    if len(fields) != 3:  # noqa: PLR2004
        msg = f"{_shown(text)} has {len(fields)} field(s), not 3"
        raise ValueError(msg)
    return (
        _number("t_s", fields[0], _MAX_SECONDS),
        _count("prompt_tokens", fields[1]),
        _count("output_tokens", fields[2]),
    )


def _number(name: str, text: str, maximum: float) -> float:
    try:
        value = float(text)
    except ValueError:
        msg = f"{name} is {_shown(text)}; it must be a number"
        raise ValueError(msg) from None
    if not (math.isfinite(value) and 0 <= value <= maximum):
        msg = f"{name} is {_shown(text)}; it must lie between 0 and {maximum:,.0f}"
        raise ValueError(msg)
    return value


def _count(name: str, text: str) -> int:
    value = _number(name, text, _MAX_TOKENS)
    if not value.is_integer():
        msg = f"{name} is {_shown(text)}; it must be a whole number"
        raise ValueError(msg)
    return int(value)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")  # noqa: PLR2004


def _sorted(name: str, rows: list[tuple[float, int, int]]) -> Trace:
    t_s = np.array([row[0] for row in rows], dtype=np.float64)
    order = np.argsort(t_s, kind="stable")
    last = float(t_s.max())
    return Trace(
        name=name,
        t_s=t_s[order],
        prompt_tokens=np.array([row[1] for row in rows], dtype=np.int64)[order],
        output_tokens=np.array([row[2] for row in rows], dtype=np.int64)[order],
        length_s=last + (last / (len(rows) - 1) if len(rows) > 1 else 1.0),
        out_of_order=int(np.count_nonzero(np.diff(t_s) < 0)),
    )


def _lines(path: Path, max_bytes: int) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, never holding more than one; every kind of bad file is a BadInputError."""
    try:
        with path.open("rb") as raw:
            yield from _bounded_lines(path, _opened(raw), max_bytes)
    except FileNotFoundError:
        msg = f"{path}: no such trace; give a CSV file or a name from `foreserve load --list-traces`"
        raise BadInputError(msg) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        msg = f"{path}: the gzip data is damaged ({exc}); fetch the file again"
        raise BadInputError(msg) from exc
    except OSError as exc:
        msg = f"{path}: cannot be read: {exc.strerror or exc}"
        raise BadInputError(msg) from exc


def _opened(raw: BinaryIO) -> BinaryIO:
    zipped = raw.read(2) == _GZIP_MAGIC
    raw.seek(0)
    return io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw


def _bounded_lines(path: Path, stream: BinaryIO, max_bytes: int) -> Iterator[tuple[int, str]]:
    read = 0
    number = 0
    while line := stream.readline(_MAX_LINE_BYTES):
        number += 1
        read += len(line)
        if read > max_bytes:
            msg = f"{path}: longer than {max_bytes // 1_000_000} MB unpacked; give a shorter trace"
            raise BadInputError(msg)
        if len(line) == _MAX_LINE_BYTES:
            msg = f"{path}:{number}: the line is longer than {_MAX_LINE_BYTES - 1} bytes; is this a trace?"
            raise BadInputError(msg)
        # A byte-order mark is no data; bytes that are no text show up in the message about their line.
        yield number, line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="backslashreplace")
