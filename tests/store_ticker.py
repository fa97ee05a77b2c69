"""A controller that only ticks and stores, as fast as it can, to be killed.

Run as a program with the store's path: for every line on stdin it starts such a controller as a child
process, prints the child's process id, and prints an empty line once the child is gone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from controller.domain.record import TickRecord
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.domain.state import DeploymentMemory, PlannerState
from controller.store.sqlite import SqliteStore
from tests.records import CHAT, EMBED, Kept, deployment_record, record

STEP_S = 5.0


def tick_record(tick: int) -> TickRecord:
    return record(deployment_record(CHAT), deployment_record(EMBED), tick=tick, at=1000.0 + tick)


def tick_state(tick: int) -> PlannerState:
    """State that names its tick, long enough to need several pages."""
    memory = DeploymentMemory(recommendations=tuple((float(tick), n) for n in range(400)), last_set=tick)
    return PlannerState(deployments=((CHAT, memory),))


def tick_history(tick: int) -> History:
    """A past that has one bin for each tick."""
    return History(start=0.0, step_s=STEP_S, values=tuple(float(n) for n in range(tick)))


def ticks_finished(path: Path) -> int:
    """How many ticks all tickers of this store have finished."""
    counted = _count_of(path)
    return counted.stat().st_size if counted.exists() else 0


def _count_of(path: Path) -> Path:
    """The file that has a byte for each finished tick."""
    return path.with_name(f"{path.name}.ticks")


def tick_forever(path: Path) -> None:
    store = SqliteStore(path)
    store.load()
    tick = store.last_tick()
    counted = _count_of(path).open("ab", buffering=0)
    while True:
        tick += 1
        store.begin(tick_record(tick), tick_state(tick))
        store.finish(
            tick_record(tick), tick_state(tick), Kept([(CHAT, signal, tick_history(tick)) for signal in (*Signal,)])
        )
        counted.write(b".")


def main(path: Path) -> None:
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            tick_forever(path)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
