"""Exit codes of the foreserve command, documented in docs/cli.md."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process's exit status says."""

    OK = 0
    FAILED = 1
    """Something went wrong that is neither bad input nor an unreachable system."""
    BAD_INPUT = 2
    """A file, a key, an argument or a port is wrong; nothing was changed."""
    UNAVAILABLE = 3
    """A system that is needed could not be reached, or refused the credentials."""
    CHECK_FAILED = 4
    """A preflight check or a policy check said no."""
