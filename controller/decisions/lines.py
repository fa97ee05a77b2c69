"""Lines in, lines out: each input line has its output line, in the same place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pydantic import ValidationError

from controller.decisions.message import ErrorLine, PlanLine, Problem, SnapshotLine
from controller.decisions.session import LineError, Session

_SKIPPED_AT_ONCE = 1 << 16
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was skipped because it has more than ``limit`` bytes."""

    limit: int


def read_lines(stream: BinaryIO, *, max_bytes: int) -> Iterator[bytes | TooLong]:
    """Read lines without their ends, never more than ``max_bytes`` of one at once."""
    while line := stream.readline(max_bytes + 1):
        if len(line) <= max_bytes or line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")
            continue
        while (rest := stream.readline(_SKIPPED_AT_ONCE)) and not rest.endswith(b"\n"):
            pass
        yield TooLong(max_bytes)


def answer(session: Session, line: bytes | TooLong, number: int) -> PlanLine | ErrorLine:
    """Answer one line; one that is wrong changes nothing."""
    if isinstance(line, TooLong):
        return _wrong(number, "", f"longer than {line.limit} bytes; raise --max-line-bytes if it is meant to be")
    if not line.strip():
        return _wrong(number, "", "is empty; expected a JSON object")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _wrong(number, "", f"is not JSON ({error}): {line[:_SHOWN].decode(errors='replace')!r}")
    try:
        return session.answer(SnapshotLine.model_validate(document), number)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        return _wrong(
            number, ".".join(map(str, first["loc"])), _said(first["msg"], first["input"], error.error_count())
        )
    except LineError as error:
        return _wrong(number, error.key, error.message)


def _wrong(number: int, key: str, message: str) -> ErrorLine:
    return ErrorLine(line=number, error=Problem(key=key, message=message))


def _said(message: str, found: object, count: int) -> str:
    more = f" (and {count - 1} more)" if count > 1 else ""
    shown = "" if isinstance(found, dict | list) else f"; found {str(found)[:_SHOWN]!r}"
    return message.removeprefix("Value error, ") + shown + more
