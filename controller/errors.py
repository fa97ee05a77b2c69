"""The errors that a person is told about."""

from __future__ import annotations


class ForeserveError(Exception):
    """Something a person can act on; ``str()`` is the whole message."""


class BadInputError(ForeserveError):
    """Input names a file, line or key that is wrong. The message says what would be right. Exit code 2."""


class UnavailableError(ForeserveError):
    """A needed system could not be reached or refused us. Exit code 3."""
