"""kill -9 at any moment: the store opens, is whole, and goes on where it was."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.domain.plan import OutcomeStatus
from controller.store.reader import StoreReader
from controller.store.sqlite import SqliteStore
from tests.records import CHAT
from tests.store_ticker import tick_history, tick_state, ticks_finished

ROOT = Path(__file__).parents[3]
KILLS = 30
AT_START = 3
"""One kill in so many comes while the child opens the store or soon after, the others once it has ticked."""


@pytest.fixture
def ticker(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the program that starts tickers; end it, and the ticker it may have running."""
    program = [sys.executable, "-m", "tests.store_ticker", str(tmp_path / "s.db")]
    process = subprocess.Popen(
        program, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def start_one(ticker: subprocess.Popen[str]) -> int:
    assert ticker.stdin is not None
    assert ticker.stdout is not None
    ticker.stdin.write("go\n")
    ticker.stdin.flush()
    return int(ticker.stdout.readline())


def await_end(ticker: subprocess.Popen[str]) -> None:
    assert ticker.stdout is not None
    assert ticker.stdout.readline() == "\n"


def test_a_killed_controller_leaves_a_whole_store_and_never_repeats_a_tick(
    tmp_path: Path, ticker: subprocess.Popen[str]
) -> None:
    path = tmp_path / "s.db"
    moments = random.Random(7)
    unfinished, last = 0, 0

    for kill in range(KILLS):
        child = start_one(ticker)
        if kill % AT_START:
            wait_for_ticks(path, 2)
        time.sleep(moments.uniform(0.0, 0.02))  # so that the kill meets any part of a tick
        os.kill(child, signal.SIGKILL)
        await_end(ticker)

        store = SqliteStore(path)
        assert store.notices == []
        assert store.last_tick() >= last
        last = store.last_tick()
        unfinished += whole_until(store, last)
        store.close()
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            ticks = [row[0] for row in connection.execute("SELECT tick FROM ticks ORDER BY tick")]
            assert ticks == list(range(1, last + 1))

    assert last > KILLS
    assert 0 < unfinished < KILLS


def whole_until(store: SqliteStore, last: int) -> bool:
    """Check that record, state and histories are those of whole ticks; return whether the last was unfinished."""
    if last == 0:
        assert store.load() is None
        return False
    records = store.records(last=KILLS + 2)
    finished = [one.tick for one in records if one.deployments[0].outcome.status is not OutcomeStatus.PENDING]
    loaded = store.load()
    assert loaded is not None
    state, histories = loaded.state, loaded.histories

    assert records[-1].tick == last
    assert state == tick_state(last)
    assert {history for _, _, history in histories} == {tick_history(max(finished, default=0))} - {tick_history(0)}
    return last not in finished


def test_a_reader_sees_the_log_that_a_killed_controller_left(tmp_path: Path, ticker: subprocess.Popen[str]) -> None:
    path = tmp_path / "s.db"
    child = start_one(ticker)
    wait_for_ticks(path, 3)

    with StoreReader(path) as beside:
        while_running = beside.records(deployment=CHAT, last=1)
    os.kill(child, signal.SIGKILL)
    await_end(ticker)
    assert path.with_name("s.db-wal").stat().st_size > 0
    with StoreReader(path) as afterwards:
        newest = afterwards.records(deployment=CHAT, last=1)

    assert newest[0].tick >= while_running[0].tick >= 3


def wait_for_ticks(path: Path, ticks: int) -> None:
    """Wait for so many more finished ticks, off the store; the test's own timeout ends it otherwise."""
    before = ticks_finished(path)
    while ticks_finished(path) < before + ticks:
        time.sleep(0.001)
