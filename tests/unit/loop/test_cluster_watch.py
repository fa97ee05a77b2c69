"""Looking at the cluster never holds up a tick, and never raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from controller.domain.cluster import ClusterFound
from controller.loop.cluster_watch import ClusterWatch
from tests.clocks import VirtualClock


@dataclass
class Observer:
    answer: Callable[[float], Coroutine[Any, Any, ClusterFound]]
    asked: int = 0
    closed: bool = False

    async def observe(self, now: float) -> ClusterFound:
        self.asked += 1
        return await self.answer(now)

    async def close(self) -> None:
        self.closed = True


async def found(now: float) -> ClusterFound:
    return ClusterFound(at=now, nodes=())


async def test_an_answer_in_time_is_taken_and_nobody_is_asked_in_vain() -> None:
    clock = VirtualClock(5.0)
    observer = Observer(found)
    watch = ClusterWatch(observer=observer, clock=clock)

    assert await watch.look(deadline_s=1.0) == ClusterFound(at=5.0, nodes=())
    assert await watch.look(wanted=False, deadline_s=1.0) is None
    assert await ClusterWatch(observer=None, clock=clock).look(deadline_s=1.0) is None
    assert observer.asked == 1


async def test_a_late_answer_is_unknown_now_and_taken_by_the_next_look() -> None:
    clock, gate = VirtualClock(5.0), asyncio.Event()

    async def slow(now: float) -> ClusterFound:
        await gate.wait()
        return await found(now)

    observer = Observer(slow)
    watch = ClusterWatch(observer=observer, clock=clock)

    late = await watch.look(deadline_s=0.01)
    gate.set()
    clock.advance(0.01)
    taken = await watch.look(deadline_s=1.0)

    assert late is not None
    assert late.nodes is None
    assert late.problems == ("the cluster did not answer within 0.01 s",)
    assert taken == ClusterFound(at=5.0, nodes=())
    assert observer.asked == 1


async def test_one_that_never_answers_is_asked_anew_after_a_while() -> None:
    clock = VirtualClock()

    async def never(_now: float) -> ClusterFound:
        await asyncio.Event().wait()
        raise AssertionError

    observer = Observer(never)
    watch = ClusterWatch(observer=observer, clock=clock)
    for _ in range(7):
        await watch.look(deadline_s=0.01)
        clock.advance(0.01)
    await watch.close()

    assert observer.asked == 2
    assert observer.closed


async def test_a_mistake_is_told_and_nothing_is_known() -> None:
    async def broken(_now: float) -> ClusterFound:
        msg = "oops"
        raise KeyError(msg)

    watch = ClusterWatch(observer=Observer(broken), clock=VirtualClock())

    answer = await watch.look(deadline_s=1.0)

    assert answer is not None
    assert (answer.nodes, answer.problems) == (None, ("the cluster could not be read: KeyError: 'oops'",))
