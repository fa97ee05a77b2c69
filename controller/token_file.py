"""A token in a file of its own."""

from __future__ import annotations

from pathlib import Path

from controller.errors import BadInputError


def read_token(file: Path, *, setting: str) -> str:
    """Return the one token in a file. ``setting`` names the file in messages.

    Raises:
        BadInputError: the file cannot be read, is not text, or is empty.

    """
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        msg = f"{file}: cannot be read as a token ({reason}); {setting} names a file with one token in it"
        raise BadInputError(msg) from None
    if not token:
        msg = f"{file}: is empty; {setting} names a file with one token in it"
        raise BadInputError(msg)
    return token
