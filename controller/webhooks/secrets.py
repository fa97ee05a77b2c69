"""Secrets of webhooks, read each time that they are needed, so that a new one counts at once."""

from __future__ import annotations

import os
from pathlib import Path

from controller.errors import BadInputError

_MOST_BYTES = 65_536


def secret_of(file: str | None, variable: str | None, *, key: str) -> str | None:
    """Return what a file or an environment variable holds; None when neither is named.

    Raises:
        BadInputError: it is not there, empty, or no single line. The message names ``key``, never the content.

    """
    if file is not None:
        return _from_file(Path(file), f"{key}_file")
    if variable is None:
        return None
    text = os.environ.get(variable, "").strip()
    if not text:
        msg = f"{key}_env: the environment variable {variable} is not set or empty"
        raise BadInputError(msg)
    return _one_line(text, f"{key}_env: the environment variable {variable}")


def _from_file(path: Path, key: str) -> str:
    try:
        with path.open("rb") as opened:
            text = opened.read(_MOST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        msg = f"{key}: {path} cannot be read ({reason})"
        raise BadInputError(msg) from None
    if not text:
        msg = f"{key}: {path} is empty"
        raise BadInputError(msg)
    return _one_line(text, f"{key}: {path}")


def _one_line(text: str, what: str) -> str:
    if text.isprintable() and text.isascii():
        return text
    msg = f"{what} holds more than one line of printable ASCII"
    raise BadInputError(msg)
