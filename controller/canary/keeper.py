"""The policy's canaries, driven while the controller runs; kept in the store, shown in every tick's record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger

from controller.canary.drive import Moved, move
from controller.canary.judge import Terms
from controller.canary.ramp import Ramp, Splitter, seen
from controller.codec import dump_canary, load_canary
from controller.domain.canary import BuildSeen, CanaryPhase, CanaryProgress, CanaryRecord
from controller.policy.canary import CanaryPolicy
from controller.ports import Clock, Shelf, StoreError

KIND = "canary"
"""What canaries are called on a shelf."""

POLL_S = 2.0


class CanaryKeeper:
    """Moves every canary of the policy in force. ``standby`` says why this controller may not act, if so."""

    def __init__(
        self,
        *,
        clock: Clock,
        canaries: Callable[[], tuple[CanaryPolicy, ...]],
        splitter: Callable[[CanaryPolicy], Splitter],
        shelf: Shelf,
        standby: Callable[[], str | None],
        log: FilteringBoundLogger,
    ) -> None:
        """Take up what an earlier process left. Raises StoreError."""
        self._clock = clock
        self._canaries = canaries
        self._splitter = splitter
        self._shelf = shelf
        self._standby = standby
        self._log = log
        kept = (body.partition(b"\n") for body in shelf.everything(KIND))
        self._progress = {name.decode(): load_canary(body) for name, _, body in kept}
        self._shown: dict[str, CanaryRecord] = {}

    async def run(self) -> None:
        """Go on until cancelled; one that fails does not hold up the others."""
        while True:
            await self.look()
            await self._clock.sleep(POLL_S)

    async def look(self) -> None:
        """Move each canary once, all at the same time: one that hangs must not let another's share lapse."""
        canaries = self._canaries()
        await asyncio.gather(*(self._attempt(one) for one in canaries))
        names = {one.name for one in canaries}
        self._shown = {name: record for name, record in self._shown.items() if name in names}

    def records(self) -> tuple[CanaryRecord, ...]:
        """Return how all of them are, by name."""
        return tuple(self._shown[name] for name in sorted(self._shown))

    async def _attempt(self, wanted: CanaryPolicy) -> None:
        try:
            await self._look(wanted)
        except Exception:  # noqa: BLE001 - a bug in one must not end the others
            self._log.exception("canary_failed", canary=wanted.name)

    async def _look(self, wanted: CanaryPolicy) -> None:
        standby = self._standby()
        before = self._progress.get(wanted.name)
        if standby is not None:
            self._shown[wanted.name] = _record(wanted, Moved(before, None, standby), now=self._clock.now())
            return
        ramp, now = _ramp(wanted), self._clock.now()
        moved = await move(before, ramp, self._splitter(wanted), build=wanted.build, now=now)
        self._shown[wanted.name] = _record(wanted, moved, now=now)
        after = moved.progress
        if after is None or _place(after) == _place(before):
            return
        self._progress[wanted.name] = after
        self._log.info(
            "canary", canary=wanted.name, build=after.build, phase=after.phase.value, share=after.share, why=after.why
        )
        try:
            self._shelf.put(KIND, wanted.name, wanted.name.encode() + b"\n" + dump_canary(after))
        except StoreError as error:
            self._log.warning("canary_not_kept", canary=wanted.name, problem=str(error))


def _place(progress: CanaryProgress | None) -> tuple[Any, ...]:
    return () if progress is None else (progress.build, progress.phase, progress.step, progress.since)


def _ramp(wanted: CanaryPolicy) -> Ramp:
    return Ramp(
        steps=wanted.steps,
        hold_s=wanted.hold_s,
        longest_s=wanted.longest_s,
        terms=Terms(ttft_s=wanted.ttft_s, min_requests=wanted.min_requests, max_slowdown=wanted.max_slowdown),
    )


def _record(wanted: CanaryPolicy, moved: Moved, *, now: float) -> CanaryRecord:
    known = moved.progress
    if known is None or known.build != wanted.build:
        why = moved.problem or "not begun"
        known = CanaryProgress(build=wanted.build, phase=CanaryPhase.WAITING, step=0, share=0.0, since=now, why=why)
    told = moved.told
    return CanaryRecord(
        name=wanted.name,
        progress=known,
        steps=len(wanted.steps),
        found_share=None if told is None else told["share"],
        canary=None if told is None else _build(told, "canary"),
        stable=None if told is None else _build(told, "stable"),
        problem=moved.problem,
    )


def _build(told: dict[str, Any], name: str) -> BuildSeen:
    counts = seen(told, name)
    return BuildSeen(requests=counts.requests, failed=counts.failed, first_byte_p50_s=counts.quantile_s(0.5))
