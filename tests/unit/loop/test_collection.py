"""All collectors at once, never longer than the deadline."""

import asyncio
from collections.abc import Sequence

from controller.domain.scrape import Scrape, SourceKind
from controller.loop.collection import Collection
from tests.clocks import VirtualClock

DEADLINE_S = 0.05


class Answering:
    """Answers at once, with when it was asked."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.closed = False

    async def collect(self, now: float) -> Sequence[Scrape]:
        return (Scrape(source=self._source, kind=SourceKind.RAY, at=now, ok=True),)

    async def close(self) -> None:
        self.closed = True


class Hanging(Answering):
    """Answers when let go."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.asked = 0
        self.let_go = asyncio.Event()

    async def collect(self, now: float) -> Sequence[Scrape]:
        self.asked += 1
        await self.let_go.wait()
        return await super().collect(now)


class Raising(Answering):
    async def collect(self, now: float) -> Sequence[Scrape]:
        msg = f"broken at {now}"
        raise RuntimeError(msg)


class Meeting(Answering):
    """Answers only while another one of its kind is being asked too."""

    def __init__(self, source: str, barrier: asyncio.Barrier) -> None:
        super().__init__(source)
        self._barrier = barrier

    async def collect(self, now: float) -> Sequence[Scrape]:
        await self._barrier.wait()
        return await super().collect(now)


def collection(clock: VirtualClock, **collectors: Answering) -> Collection:
    return Collection(collectors=collectors, clock=clock)


async def test_collectors_are_asked_in_parallel() -> None:
    barrier = asyncio.Barrier(2)
    both = collection(VirtualClock(), a=Meeting("a", barrier), b=Meeting("b", barrier))

    collected = await both.collect(1.0, deadline_s=1.0)

    assert {scrape.source for scrape in collected.scrapes} == {"a", "b"}
    assert collected.problems == ()


async def test_one_that_hangs_does_not_hold_up_the_others() -> None:
    hanging = Hanging("slow")
    some = collection(VirtualClock(), ray=Answering("fast"), haproxy=hanging)

    collected = await some.collect(1.0, deadline_s=DEADLINE_S)

    assert [scrape.source for scrape in collected.scrapes] == ["fast"]
    assert collected.problems == ("collector haproxy did not answer within 0.05 s; its last values are aging",)
    await some.close()


async def test_a_late_answer_is_taken_by_the_next_pass_with_its_own_time() -> None:
    hanging = Hanging("slow")
    some = collection(VirtualClock(), slow=hanging)
    await some.collect(1.0, deadline_s=DEADLINE_S)

    hanging.let_go.set()
    collected = await some.collect(2.0, deadline_s=DEADLINE_S)

    assert [(scrape.source, scrape.at) for scrape in collected.scrapes] == [("slow", 1.0)]
    assert collected.problems == ()


async def test_one_that_still_hangs_is_not_asked_twice_at_a_time() -> None:
    hanging = Hanging("slow")
    some = collection(VirtualClock(), slow=hanging)

    for now in (1.0, 2.0):
        await some.collect(now, deadline_s=DEADLINE_S)

    assert hanging.asked == 1
    await some.close()


async def test_one_that_hangs_for_several_deadlines_is_given_up_and_asked_anew() -> None:
    clock, hanging = VirtualClock(), Hanging("slow")
    some = collection(clock, slow=hanging)
    await some.collect(1.0, deadline_s=DEADLINE_S)

    clock.advance(5 * DEADLINE_S)
    await some.collect(2.0, deadline_s=DEADLINE_S)

    assert hanging.asked == 2
    await some.close()


async def test_one_that_breaks_its_promise_and_raises_is_reported() -> None:
    some = collection(VirtualClock(), ray=Answering("fast"), serve=Raising("broken"))

    collected = await some.collect(1.0, deadline_s=DEADLINE_S)

    assert [scrape.source for scrape in collected.scrapes] == ["fast"]
    assert collected.problems == ("collector serve failed: RuntimeError: broken at 1.0",)


async def test_closing_ends_what_hangs_and_closes_all() -> None:
    hanging = Hanging("slow")
    some = collection(VirtualClock(), slow=hanging)
    await some.collect(1.0, deadline_s=DEADLINE_S)
    before = asyncio.all_tasks()

    await some.close()

    assert hanging.closed
    assert len(asyncio.all_tasks()) == len(before) - 1
