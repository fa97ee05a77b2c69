"""Fixed-rate ticking in virtual time."""

import asyncio

from controller.loop.schedule import every
from tests.clocks import VirtualClock


class Ticks:
    """Notes when it ran, takes as long as told, and stops the schedule after the last."""

    def __init__(self, clock: VirtualClock, durations_s: list[float]) -> None:
        self._clock = clock
        self._durations_s = durations_s
        self.at: list[float] = []
        self.skipped = 0
        self.stop = asyncio.Event()

    async def tick(self) -> None:
        self.at.append(self._clock.monotonic())
        self._clock.advance(self._durations_s[len(self.at) - 1])
        if len(self.at) == len(self._durations_s):
            self.stop.set()

    def skip(self) -> None:
        self.skipped += 1


async def run(durations_s: list[float], interval_s: float = 10.0) -> Ticks:
    clock = VirtualClock()
    ticks = Ticks(clock, durations_s)
    await every(lambda: interval_s, ticks.tick, clock=clock, stop=ticks.stop, skipped=ticks.skip)
    return ticks


async def test_ticks_start_at_multiples_of_the_interval_however_long_they_take() -> None:
    ticks = await run([0.5, 3.0, 0.1, 9.9, 0.5])

    assert ticks.at == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert ticks.skipped == 0


async def test_a_tick_that_overruns_loses_due_times_and_moves_no_other() -> None:
    ticks = await run([0.5, 25.0, 0.5, 0.5])

    assert ticks.at == [0.0, 10.0, 40.0, 50.0]
    assert ticks.skipped == 2


async def test_a_changed_interval_holds_from_the_next_tick() -> None:
    clock = VirtualClock()
    ticks = Ticks(clock, [0.5] * 4)

    await every(
        lambda: 10.0 if len(ticks.at) < 2 else 2.0, ticks.tick, clock=clock, stop=ticks.stop, skipped=ticks.skip
    )

    assert ticks.at == [0.0, 10.0, 12.0, 14.0]


class RealClock(VirtualClock):
    """Sleeps by the event loop."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def test_a_stop_between_ticks_ends_the_wait_at_once() -> None:
    ticked, stop = asyncio.Event(), asyncio.Event()

    async def tick() -> None:
        ticked.set()

    running = asyncio.create_task(every(lambda: 300.0, tick, clock=RealClock(), stop=stop, skipped=lambda: None))
    await ticked.wait()
    stop.set()

    await asyncio.wait_for(running, timeout=1.0)


async def test_a_stop_lets_the_running_tick_end() -> None:
    started, go_on, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended: list[bool] = []

    async def tick() -> None:
        started.set()
        await go_on.wait()
        ended.append(True)

    running = asyncio.create_task(every(lambda: 1.0, tick, clock=RealClock(), stop=stop, skipped=lambda: None))
    await started.wait()
    stop.set()
    go_on.set()
    await running

    assert ended == [True]


async def test_a_tick_that_does_not_end_after_a_stop_is_cancelled() -> None:
    started, stop, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def tick() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    running = asyncio.create_task(
        every(lambda: 1.0, tick, clock=RealClock(), stop=stop, skipped=lambda: None, grace_s=0.01)
    )
    await started.wait()
    stop.set()
    await running

    assert cancelled.is_set()
