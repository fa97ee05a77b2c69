"""Clean up after a run whose owner was killed: ``python -m controller.local.sweeper RUN_ID SCRATCH_ROOT BEGAN``.

It waits for the end of its standard input, which the owner holds open for as long as it lives, and then ends and
removes whatever is left of the run. After an orderly end there is nothing left, and it does nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from controller.local.belongings import Run
from controller.local.layout import SCRATCH_PREFIX, clean_up

_PATIENCE_S = 3.0


def start(run: Run, *, began: float) -> subprocess.Popen[bytes]:
    """Start a sweeper for ``run``; it begins when its standard input is closed, by whatever cause."""
    command = [sys.executable, "-m", "controller.local.sweeper", run.run_id, str(run.scratch.parent), str(began)]
    return subprocess.Popen(  # noqa: S603 - built here
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # out of reach of the terminal's Ctrl-C
    )


def release(sweeper: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Tell a sweeper that the run is over, and wait for it."""
    sweeper.communicate(timeout=timeout_s)


def main(run_id: str, scratch_root: str, began: str) -> None:
    """Wait for the owner's end, then clean up."""
    sys.stdin.buffer.read()
    run = Run(run_id=run_id, scratch=Path(scratch_root) / f"{SCRATCH_PREFIX}{run_id}")
    if run.scratch.exists():
        clean_up(run, began=float(began), patience_s=_PATIENCE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
