"""What keeping a tick costs: time, disk, and time to read it back.

Run as ``python -m benchmarks.store`` from the root of the repository; prints its own table. Every tick has
a record of all deployments, four demand histories of each, and everything in it changes.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from controller.domain.forecast import Forecast
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Piece, PieceKey, Tail
from controller.domain.plan import Action
from controller.domain.reading import Known
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import MEASURED, Signal
from controller.domain.snapshot import History
from controller.domain.state import DeploymentMemory, PlannerState
from controller.store.reader import StoreReader
from controller.store.sqlite import SqliteStore
from tests.records import decision, deployment_record, record, snapshot

START = 1_790_000_000.0
INTERVAL_S, STEP_S = 10.0, 5.0
BINS = 1440
PIECES = 6
LEARNED = random.Random(1).randbytes(9_000)
ACTS = 0.05
"""Share of decisions that change something."""
CASES = ((1, 400), (20, 200), (200, 150))


def main() -> None:
    """Measure every case and print one row for each."""
    print("deployments  tick p50 ms  tick p99 ms  tick max ms  KB/tick  last 20 of one, ms  reload s")
    for deployments, ticks in CASES:
        with tempfile.TemporaryDirectory() as directory:
            print(_case(Path(directory) / "store.db", deployments, ticks))


def _case(path: Path, deployments: int, ticks: int) -> str:
    ids = [DeploymentId(f"app{n}", f"LLMServer:model{n}") for n in range(deployments)]
    store = SqliteStore(path)
    took, size = [], 0
    for tick, (one, state, kept) in enumerate(_life(ids, ticks)):
        size = path.stat().st_size if tick == ticks // 2 else size
        took.append(_seconds(lambda one=one, state=state: store.begin(one, state)))
        took[-1] += _seconds(lambda one=one, state=state, kept=kept: store.finish(one, state, kept))
    store.close()
    per_tick = (path.stat().st_size - size) / (ticks - ticks // 2)
    steady = sorted(took[ticks // 2 :])
    with StoreReader(path) as reader:
        read = _seconds(lambda: reader.records(deployment=ids[0], last=20))
        reload = _seconds(reader.load)
    p99 = steady[int(0.99 * len(steady))]
    return (
        f"{deployments:>11}  {statistics.median(steady) * 1e3:>11.1f}  {p99 * 1e3:>11.1f}  {steady[-1] * 1e3:>11.1f}"
        f"  {per_tick / 1e3:>7.1f}  {read * 1e3:>18.1f}  {reload:>8.2f}"
    )


def _life(ids: Sequence[DeploymentId], ticks: int) -> Iterator[tuple[TickRecord, PlannerState, _Kept]]:
    noise = random.Random(0)
    past = [noise.random() * 100 for _ in range(BINS + 2 * ticks)]
    for tick in range(1, ticks + 1):
        at = START + tick * INTERVAL_S
        entries = [_entry(one, at, noise) for one in ids]
        memory = DeploymentMemory(recommendations=tuple((at - n * INTERVAL_S, 2) for n in range(30)))
        history = History(
            start=START + 2 * tick * STEP_S, step_s=STEP_S, values=tuple(past[2 * tick : 2 * tick + BINS])
        )
        yield (
            record(*entries, tick=tick, at=at),
            PlannerState(deployments=tuple((one, memory) for one in ids)),
            _Kept(ids, history, at),
        )


class _Kept:
    """As the loop gives it: only what the store does not hold of the histories, and six learned pieces a tick."""

    def __init__(self, ids: Sequence[DeploymentId], history: History, at: float) -> None:
        self._ids, self._history, self._at = ids, history, at

    def tails(self, held_until: Callable[[DeploymentId, Signal], float | None]) -> list[Tail]:
        return [self._tail(one, signal, held_until(one, signal)) for one in self._ids for signal in MEASURED]

    def pieces(self, _held: Mapping[PieceKey, float]) -> list[Piece]:
        first = int(self._at / INTERVAL_S) * PIECES
        ids = [self._ids[(first + n) % len(self._ids)] for n in range(PIECES)]
        return [Piece(deployment=one, name="track work 120", at=self._at, body=LEARNED) for one in ids]

    def _tail(self, one: DeploymentId, signal: Signal, held: float | None) -> Tail:
        whole = self._history
        first = 0 if held is None else max(0, round((held - whole.start) / STEP_S) - 1)
        newest = History(start=whole.start + first * STEP_S, step_s=STEP_S, values=whole.values[first:])
        return Tail(deployment=one, signal=signal, begins=whole.start, history=newest)


def _entry(one: DeploymentId, at: float, noise: random.Random) -> DeploymentRecord:
    forecasts = tuple(
        Forecast(
            signal=signal,
            at=at,
            horizon_s=60.0,
            quantiles=tuple((p, noise.random() * 100) for p in (0.1, 0.5, 0.9, 0.95)),
            method="damped_trend",
            history_s=3600.0,
        )
        for signal in Signal
    )
    return deployment_record(
        one,
        snapshot=snapshot(one, at=at, demand={s: Known(noise.random() * 100, noise.random()) for s in Signal}),
        decision=decision(one, forecasts=forecasts, action=Action.SCALE_UP if noise.random() < ACTS else Action.NONE),
    )


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
