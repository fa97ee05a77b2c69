"""What a stack may leave behind in shared memory, on a machine where others work, too."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from controller.local.belongings import SHARED_MEMORY

_MAPPED = re.compile(rf"{SHARED_MEMORY}/(\S+)")


def left_over(before: set[Path]) -> set[Path]:
    """Return what came into shared memory since ``before`` and nobody holds: another program holds what it made."""
    held: set[Path] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            held |= {SHARED_MEMORY / name for name in _MAPPED.findall(maps.read_text(errors="replace"))}
    return set(SHARED_MEMORY.iterdir()) - before - held
