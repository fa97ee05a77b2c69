"""Sets targets through Serve's scale API and believes nothing until it is read back.

Serve's scale API has no bounds, answers before anything has happened, and says yes where its own autoscaler
will undo the target within a third of a second. Hence guards before the write and two reads after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from controller.actuators.serve_guards import REMOVE_AUTOSCALING, changed_since, not_scalable, outside_limits
from controller.clients.serve import ServeClient, ServeRefusedError, ServeUnavailableError
from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.serve import ServeState
from controller.errors import UnavailableError
from controller.ports import Clock

Limits = Callable[[DeploymentId], tuple[int, int] | None]
"""(min, max) replicas of a deployment; None when the policy does not name it."""

_Result = tuple[OutcomeStatus, str]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a write may take, in seconds.

    ``deadline_s`` bounds everything, ``attempt_s`` one request. Waits between attempts are drawn from
    [0, backoff_s], then [0, 2 * backoff_s]. A target counts as set when it is still there ``settle_s`` after the
    write (Serve's autoscaler undoes one faster), and as ineffective when it is not there ``read_back_s`` after it.
    """

    attempts: int = 3
    deadline_s: float = 4.0
    attempt_s: float = 1.0
    backoff_s: float = 0.1
    settle_s: float = 0.3
    read_back_s: float = 2.0
    poll_s: float = 0.15


class ServeDirectActuator:
    """Direct mode. Deployments may be applied at the same time; each has its own outcome."""

    def __init__(self, *, client: ServeClient, clock: Clock, limits: Limits, timing: Timing | None = None) -> None:
        self._client = client
        self._clock = clock
        self._limits = limits
        self._timing = timing or Timing()

    async def apply(self, decision: Decision) -> Outcome:
        """Write one target and read it back. Failures are returned; only cancellation is raised."""
        if decision.action is Action.NONE or decision.desired is None:
            return Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO)
        started = self._clock.monotonic()
        write = _Write(
            decision=decision, wanted=decision.desired, client=self._client, clock=self._clock, timing=self._timing
        )
        status, detail = await self._outcome(write)
        return Outcome(
            id=decision.id,
            status=status,
            detail=detail,
            attempts=write.attempts,
            duration_s=self._clock.monotonic() - started,
        )

    async def read_state(self) -> ServeState | None:
        """Read Serve's state; None when it cannot be had."""
        try:
            return await self._client.applications()
        except UnavailableError:
            return None

    async def close(self) -> None:
        """Nothing to release: the session belongs to the caller."""

    async def _outcome(self, write: _Write) -> _Result:
        try:
            if objection := outside_limits(write.wanted, self._limits(write.decision.id)):
                return OutcomeStatus.REFUSED, objection
            async with asyncio.timeout(self._timing.deadline_s):
                return await write.run()
        except TimeoutError:
            return OutcomeStatus.FAILED, f"not confirmed within {self._timing.deadline_s:g} s"
        except ServeRefusedError as error:
            return OutcomeStatus.REFUSED, str(error)
        except ServeUnavailableError as error:
            return OutcomeStatus.FAILED, str(error)
        # A mistake in one deployment's write must not keep the others from theirs.
        except Exception as error:  # noqa: BLE001
            return OutcomeStatus.FAILED, f"unexpected {type(error).__name__}: {error}"


@dataclass(slots=True, kw_only=True)
class _Write:
    """One decision on its way. ``attempts`` counts the writes that were sent."""

    decision: Decision
    wanted: int
    client: ServeClient
    clock: Clock
    timing: Timing
    attempts: int = 0

    async def run(self) -> _Result:
        """Check, write, read back. Raises the client's errors when nothing was written."""
        state = await self._retry(self.client.applications)
        if objection := not_scalable(state, self.decision.id):
            return OutcomeStatus.REFUSED, objection
        live = _target(state, self.decision.id)
        if live == self.wanted:
            return OutcomeStatus.APPLIED, f"target already is {live}"
        if objection := changed_since(self.decision, live):
            return OutcomeStatus.REFUSED, objection
        try:
            await self._retry(self._send)
        except ServeUnavailableError as error:
            return await self._after_lost_answer(error)
        return await self._read_back()

    async def _send(self) -> None:
        self.attempts += 1
        await self.client.scale(self.decision.id, self.wanted)

    async def _after_lost_answer(self, lost: ServeUnavailableError) -> _Result:
        """Every attempt went unanswered; one of them may have worked all the same."""
        try:
            live = await self._live_target()
        except ServeUnavailableError:
            return OutcomeStatus.FAILED, str(lost)
        if live != self.wanted:
            return OutcomeStatus.FAILED, f"{lost}; the target is {live}"
        return await self._read_back()

    async def _read_back(self) -> _Result:
        timing, sent = self.timing, self.clock.monotonic()
        was_there = False
        while True:
            waited = self.clock.monotonic() - sent
            try:
                live, problem = await self._live_target(), ""
            except ServeUnavailableError as error:
                live, problem = None, f"it cannot be read back: {error}"
            if live == self.wanted and waited >= timing.settle_s:
                return OutcomeStatus.APPLIED, f"target {self.decision.current} → {live}"
            if live != self.wanted and not problem and was_there:
                return OutcomeStatus.FAILED, self._undone(live)
            if waited >= timing.read_back_s:
                problem = problem or f"the target is {live}: something else sets it; {REMOVE_AUTOSCALING}"
                return OutcomeStatus.FAILED, f"Serve accepted {self.wanted}, but {problem}"
            was_there = was_there or live == self.wanted
            await self.clock.sleep(max(timing.poll_s, timing.settle_s - waited) if was_there else timing.poll_s)

    def _undone(self, live: int | None) -> str:
        return (
            f"Serve accepted {self.wanted}, and it was set back to {live} at once: Serve's own autoscaler or another "
            f"controller sets this target too; {REMOVE_AUTOSCALING}"
        )

    async def _live_target(self) -> int | None:
        return _target(await self._bounded(self.client.applications), self.decision.id)

    async def _retry(self, call: Callable[[], Awaitable[_T]]) -> _T:
        retrying = AsyncRetrying(
            sleep=self.clock.sleep,
            stop=stop_after_attempt(self.timing.attempts),
            wait=wait_random_exponential(multiplier=self.timing.backoff_s),
            retry=retry_if_exception_type(ServeUnavailableError),
            reraise=True,
        )
        return await retrying(self._bounded, call)

    async def _bounded(self, call: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async with asyncio.timeout(self.timing.attempt_s):
                return await call()
        except TimeoutError:
            msg = f"Serve at {self.client.address} gave no answer within {self.timing.attempt_s:g} s"
            raise ServeUnavailableError(msg) from None


def _target(state: ServeState, deployment: DeploymentId) -> int | None:
    found = state.deployment(deployment)
    return found.target_replicas if found else None
