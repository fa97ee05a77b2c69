"""Direct children of a local stack: started with a log, watched, and ended together with what they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.errors import ForeserveError

TAIL_LINES = 15
_TAIL_BYTES = 64_000


class ChildDiedError(ForeserveError):
    """A process of the stack ended by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One running child with its own process group, and the file with its output."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def require_alive(self, *, patience_s: float = 0.0) -> None:
        """Raise ``ChildDiedError`` with the exit code and the last lines of its log when it has ended.

        ``patience_s`` is for a child that seems to be ending: wait that long for it.
        """
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        code = self.process.poll()
        if code is not None:
            msg = f"{self.name} ended by itself ({exit_text(code)}); log: {self.log}\n{tail(self.log)}"
            raise ChildDiedError(msg)

    def stop(self, patience_s: float) -> None:
        """Ask its process group to end, wait at most ``patience_s`` seconds, then kill the group."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        self._signal(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def spawn(
    name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, capture_stdout: bool = False
) -> Child:
    """Start ``command`` in a process group of its own; it gets SIGTERM when this process dies.

    Output goes to ``log``; with ``capture_stdout`` standard output is left to the caller to read.
    Must be called from the main thread: Linux ties the death signal to the thread that forked.
    """
    guarded = [sys.executable, "-m", "controller.local.guard", str(os.getpid()), *command]
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603 - commands are built here, not typed by anyone
            guarded,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture_stdout else output,
            stderr=output,
            start_new_session=True,
            text=True,
        )
    return Child(name=name, process=process, log=log)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Last ``lines`` lines of a log, indented; says so when there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return "  (no log was written)"
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "\n".join(f"  {line}" for line in kept) or "  (its log is empty)"


def exit_text(code: int) -> str:
    """Put an exit code into words: ``exit code 1`` or ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
