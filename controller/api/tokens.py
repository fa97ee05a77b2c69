"""Tokens of people and programs that use the API: what each may do, compared without telling how close a guess was."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from controller.errors import BadInputError

Key = TypeVar("Key")

LEAST_CHARACTERS = 16
MOST_TOKENS = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_RIGHT = "write one token a line as NAME SCOPE TOKEN, where SCOPE is read or act"
_COLUMNS = 3


class Scope(StrEnum):
    """What a token allows."""

    READ = "read"
    ACT = "act"
    """Read, and change what the controller does."""

    def covers(self, wanted: Scope) -> bool:
        """Whether a token of this scope will do."""
        return self is Scope.ACT or wanted is Scope.READ


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``scope`` is what they may do at most."""

    name: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    digest: bytes = field(repr=False)


class Tokens:
    """The tokens that are known, as digests."""

    def __init__(self, known: tuple[_Known, ...] = ()) -> None:
        self._known = known

    def __bool__(self) -> bool:
        return bool(self._known)

    def caller(self, token: str) -> Caller | None:
        """Return whose token this is, in a time that depends on no token's text."""
        digest = _digest(token)
        found = None
        for known in self._known:
            if hmac.compare_digest(known.digest, digest):
                found = known.caller
        return found


def parse_tokens(text: str, source: str) -> Tokens:
    """Read one token a line, ``NAME SCOPE TOKEN``; empty lines and lines that begin with # count for nothing.

    Raises:
        BadInputError: a line is wrong. The message names ``source`` and the line, and shows no token.

    """
    known = tuple(_lines(text, source))
    if len(known) > MOST_TOKENS:
        msg = f"{source}: has {len(known)} tokens; at most {MOST_TOKENS} are read"
        raise BadInputError(msg)
    return Tokens(known)


def _lines(text: str, source: str) -> Iterator[_Known]:
    names: dict[str, int] = {}
    tokens: dict[bytes, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        columns = line.split()
        if not columns or columns[0].startswith("#"):
            continue
        place = f"{source}:{number}"
        known = _entry(columns, place)
        _once(names, known.caller.name, number, f"{place}: the name {known.caller.name}")
        _once(tokens, known.digest, number, f"{place}: this token")
        yield known


def _entry(columns: list[str], place: str) -> _Known:
    if len(columns) != _COLUMNS:
        msg = f"{place}: has {len(columns)} words; {_RIGHT}"
        raise BadInputError(msg)
    name, scope, token = columns
    if not _NAME.fullmatch(name):
        msg = f"{place}: the name is not usable; expected up to 63 letters, digits and any of . _ @ -"
        raise BadInputError(msg)
    if scope not in set(Scope):
        msg = f"{place}: the scope of {name} is neither read nor act; {_RIGHT}"
        raise BadInputError(msg)
    if len(token) < LEAST_CHARACTERS or not (token.isascii() and token.isprintable()):
        msg = f"{place}: the token of {name} is not usable; it needs {LEAST_CHARACTERS} printable ASCII characters"
        raise BadInputError(msg)
    return _Known(Caller(name, Scope(scope)), _digest(token))


def _once(seen: dict[Key, int], key: Key, number: int, what: str) -> None:
    earlier = seen.setdefault(key, number)
    if earlier != number:
        msg = f"{what} is on line {earlier} too; keep one of the two"
        raise BadInputError(msg)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class TokenFile:
    """Tokens of a file that is looked at again when it changes, so that one can be given or taken without a restart.

    A change that is wrong leaves the tokens before it in force; ``complain`` is told why.
    """

    def __init__(self, path: Path, *, complain: Callable[[str], None]) -> None:
        """Read the file for the first time. Raises BadInputError."""
        self._path = path
        self._stamp = _stamp(path)
        self._tokens = _read(path)
        self._complain = complain

    def current(self) -> Tokens:
        """Return the tokens that hold now. Costs one ``stat`` while nothing changes."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._tokens = _read(self._path)
            except BadInputError as error:
                self._complain(f"the tokens read before stay in force: {error}")
        return self._tokens


def _read(path: Path) -> Tokens:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        msg = f"{path}: cannot be read ({reason}); api_tokens_file names a file with one token a line"
        raise BadInputError(msg) from None
    return parse_tokens(text, str(path))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
