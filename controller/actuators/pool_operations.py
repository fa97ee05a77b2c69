"""The one operation in flight on a cluster, how long to wait after a no, and what became of each operation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controller.clients.gke import GkeBusyError, GkeClient
from controller.clients.gke_answer import OperationAnswer
from controller.errors import UnavailableError
from controller.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast things are asked for, in seconds.

    After a busy cluster the next write waits ``busy_s``, doubled with each further one up to ``longest_busy_s``,
    and a random part more. After an operation that failed, its pool waits ``refused_s``, doubled up to
    ``longest_refused_s``: as the cluster autoscaler does. An operation is asked after every ``poll_s``, then
    more and more seldom up to ``longest_poll_s``, until ``give_up_s``.
    """

    busy_s: float = 30.0
    longest_busy_s: float = 300.0
    refused_s: float = 300.0
    longest_refused_s: float = 1800.0
    poll_s: float = 2.0
    longest_poll_s: float = 30.0
    give_up_s: float = 7200.0


@dataclass(slots=True)
class _Wait:
    """Nothing is asked before ``until`` (of the clock's ``monotonic``)."""

    until: float
    seconds: float
    why: str


@dataclass(slots=True, kw_only=True)
class PoolOperations:
    """Starts one operation at a time and follows it to its end, while others go on with other things.

    ``draw`` gives a number from 0 to 1, for waits that do not meet those of others.
    """

    client: GkeClient
    clock: Clock
    pace: Pace = field(default_factory=Pace)
    draw: Callable[[], float] = random.random
    _following: asyncio.Task[None] | None = None
    _name: str = ""
    _pool: str = ""
    _busy: _Wait | None = None
    _refused: dict[str, _Wait] = field(default_factory=dict)

    def objection(self, pool: str) -> str | None:
        """Say why nothing may be asked for this pool now; None when it may."""
        now = self.clock.monotonic()
        if self._following is not None and not self._following.done():
            return f"operation {self._name} on {self._pool} is in flight"
        for wait in (self._busy, self._refused.get(pool)):
            if wait is not None and now < wait.until:
                return f"waiting {wait.until - now:.0f} s more: {wait.why}"
        return None

    def follow(self, operation: OperationAnswer, pool: str) -> asyncio.Task[None]:
        """Ask after an operation that was accepted until it ends. The task fails never."""
        self._busy = None
        self._name, self._pool = operation.name, pool
        self._following = asyncio.get_running_loop().create_task(self._follow(operation, pool))
        return self._following

    def busy(self, error: GkeBusyError) -> None:
        """Remember that GKE wants to be asked later."""
        before = self._busy.seconds if self._busy else 0.0
        seconds = min(self.pace.longest_busy_s, max(self.pace.busy_s, 2 * before))
        self._busy = self._waiting(max(seconds, error.retry_after_s or 0.0), str(error))

    def refused(self, pool: str, why: str) -> None:
        """Remember that the platform gives this pool nothing."""
        before = self._refused.get(pool)
        seconds = self.pace.refused_s if before is None else min(self.pace.longest_refused_s, 2 * before.seconds)
        self._refused[pool] = self._waiting(seconds, why)

    def failures(self) -> Mapping[str, str]:
        """Why each pool's last operation failed, where it did."""
        return {pool: wait.why for pool, wait in self._refused.items()}

    async def ended(self) -> None:
        """Wait until the operation that is followed has ended."""
        if self._following is not None:
            await asyncio.wait({self._following})

    async def close(self) -> None:
        """Stop asking; what is in flight goes on by itself."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self, operation: OperationAnswer, pool: str) -> None:
        began, pause = self.clock.monotonic(), self.pace.poll_s
        while not operation.done and self.clock.monotonic() - began < self.pace.give_up_s:
            await self.clock.sleep(pause)
            pause = min(self.pace.longest_poll_s, 2 * pause)
            try:
                operation = await self.client.operation(operation.name)
            except UnavailableError:
                # Not knowing is no end: it is asked again, and the next write first reads what is in flight.
                continue
        if operation.problems:
            self.refused(pool, "; ".join(problem.text for problem in operation.problems))
        else:
            self._refused.pop(pool, None)

    def _waiting(self, seconds: float, why: str) -> _Wait:
        return _Wait(self.clock.monotonic() + seconds * (1 + 0.2 * self.draw()), seconds, why)
