"""A day of ticks in minutes: the real loop, forecaster, store and exporters in virtual time, and what they hold on to.

Load follows the day with noise, replicas come and go, and in every hour a source falls silent for a minute. Memory,
open files and the database are looked at every hour; over the second half they are to stay flat.

    python -m benchmarks.soak --hours 24
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from controller.domain.record import TickRecord
from controller.domain.scrape import SourceKind
from controller.export.latest import LatestTick
from controller.export.metrics import MetricsExporter
from controller.store.sqlite import SqliteStore
from controller.web.feed import Feed
from controller.web.timeline import Timeline
from tests.clocks import VirtualClock
from tests.scenarios.simulated import SimulatedDeployment
from tests.scenarios.world import INTERVAL_S, START, FixedPolicy, World, policy

_HOUR_S = 3600.0
_DAY_S = 86_400.0
_FLAT = 0.05
"""Largest growth over the second half, as a share."""


@dataclass(frozen=True)
class Held:
    """What the process holds: resident memory and the database with its log in bytes, open files, Python's objects."""

    memory: int
    database: int
    files: int
    objects: int


class Soak:
    """One controller over one deployment, ``looks`` of it taken when asked. The store keeps ``kept_s`` of records."""

    def __init__(self, folder: Path, *, kept_s: float, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._process = psutil.Process()
        self._deployment = SimulatedDeployment(VirtualClock(START), self._load)
        self.store = SqliteStore(folder / "soak.db", max_age_s=kept_s)
        timeline = Timeline(interval_s=lambda: INTERVAL_S, feed=Feed())
        exporters = [MetricsExporter(), LatestTick(self._deployment.clock), timeline]
        source = FixedPolicy(policy(downscale_delay_s=60))
        self._world = World(
            self._load, policy_source=source, store=self.store, deployment=self._deployment, exporters=exporters
        )
        self.ticks = self.failed = self.changes = 0

    async def run(self, seconds: float) -> None:
        """Live on; a source is silent in the first minute."""
        silent = self._random.choice([SourceKind.RAY, SourceKind.HAPROXY, SourceKind.SERVE])
        self._deployment.silent.add(silent)
        await self._some(min(60.0, seconds))
        self._deployment.silent.clear()
        await self._some(max(0.0, seconds - 60.0))

    def held(self) -> Held:
        """Look at what is held now."""
        gc.collect()
        database = sum(path.stat().st_size for path in self._folder.iterdir())
        memory = self._process.memory_info().rss
        return Held(memory, database, self._process.num_fds(), len(gc.get_objects()))

    async def _some(self, seconds: float) -> None:
        records: list[TickRecord] = await self._world.run(seconds)
        self.ticks += len(records)
        self.failed += round(seconds / INTERVAL_S) - len(records)
        self.changes += sum(one.decision.action.value != "none" for record in records for one in record.deployments)
        # What the test's world keeps is not the controller's.
        self._world.records.clear()
        self._world.events.noted.clear()
        self._world.direct.applied.clear()
        self._world.log.seek(0)
        self._world.log.truncate(0)

    def _load(self, at: float) -> float:
        day = 8.0 + 7.0 * math.sin(2 * math.pi * at / _DAY_S)
        return max(0.0, day + self._random.gauss(0.0, 1.0))


@contextmanager
def soaking(*, kept_s: float) -> Iterator[Soak]:
    """Build a controller in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), kept_s=kept_s)
        try:
            yield soak
        finally:
            soak.store.close()


async def _watch(soak: Soak, hours: int) -> list[Held]:
    print("| hour | memory MB | database MB | open files | objects |\n|---|---|---|---|---|")
    seen = []
    for hour in range(1, hours + 1):
        await soak.run(_HOUR_S)
        held = soak.held()
        seen.append(held)
        sizes = f"{held.memory / 1e6:.1f} | {held.database / 1e6:.2f}"
        print(f"| {hour} | {sizes} | {held.files} | {held.objects} |", flush=True)
    return seen


def main() -> None:
    """Run, print, and exit with 1 where something grew or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--kept-hours", type=float, default=2.0, help="how long the store keeps records")
    given = parser.parse_args()
    began = time.monotonic()
    with soaking(kept_s=given.kept_hours * _HOUR_S) as soak:
        seen = asyncio.run(_watch(soak, given.hours))
        half, last = seen[len(seen) // 2], seen[-1]
        growth = {
            name: getattr(last, name) / getattr(half, name) - 1.0 for name in ("memory", "database", "files", "objects")
        }
        told = ", ".join(f"{name} {share:+.1%}" for name, share in growth.items())
        print(f"\n{soak.ticks} ticks, {soak.failed} failed, {soak.changes} changes of target in ", end="")
        print(f"{time.monotonic() - began:.0f} s; over the second half: {told}")
        sys.exit(1 if soak.failed or any(share > _FLAT for share in growth.values()) else 0)


if __name__ == "__main__":
    main()
