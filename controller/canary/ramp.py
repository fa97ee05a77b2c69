"""A canary's way through its steps, as a function of what the splitter counts. Pure; time is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from controller.canary.judge import Judgement, Seen, Terms, Verdict, judge
from controller.domain.canary import CanaryPhase, CanaryProgress

LEASE_S = 60.0
"""Seconds after which the splitter takes an unfinished canary back when nobody who judges it says otherwise."""

_SAME_SHARE = 1e-9


class Splitter(Protocol):
    """Sends a share of the traffic to the canary, and counts."""

    async def read(self) -> dict[str, Any]:
        """Return what ``GET /-/split`` tells. Raises UnavailableError."""
        ...

    async def set(self, share: float, *, for_s: float | None, note: str) -> None:
        """Set the canary's share, and renew it when it is that already.

        After ``for_s`` seconds without another call the splitter sets it to 0. Raises UnavailableError.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Shares in order, how long each is held at least, and at most; the canary's terms."""

    steps: Sequence[float]
    hold_s: float
    longest_s: float
    terms: Terms


def begin(ramp: Ramp, build: str, *, now: float) -> CanaryProgress:
    """Return the first step."""
    first = ramp.steps[0]
    return CanaryProgress(
        build=build, phase=CanaryPhase.RAMPING, step=0, share=first, since=now, why=f"{first:.0%} to the canary"
    )


def advance(progress: CanaryProgress, ramp: Ramp, told: dict[str, Any] | None, *, now: float) -> CanaryProgress:
    """Return where the canary goes from what the splitter told, None when it did not answer.

    A worse build, or one that cannot be judged within ``longest_s``, goes back to 0. A share that somebody else
    set is left alone. One that ran out, because nobody judged for a while, begins anew.
    """
    if progress.phase is not CanaryPhase.RAMPING:
        return progress
    if told is None:
        if now - progress.since <= ramp.longest_s:
            return progress
        return _back(progress, now, f"the splitter gave no answer within {ramp.longest_s:g} s")
    if told["lapsed"]:
        return begin(ramp, progress.build, now=now)
    if abs(told["share"] - progress.share) > _SAME_SHARE:
        found = f"the share is {told['share']:.0%}, not {progress.share:.0%}"
        why = f"{found}: somebody else set it, or the splitter was started anew"
        return replace(progress, phase=CanaryPhase.OVERRIDDEN, share=told["share"], since=now, why=why)
    return _judged(progress, ramp, told, now=now)


def seen(told: dict[str, Any], build: str) -> Seen:
    """Read one build's counts."""
    one = told[build]
    return Seen(requests=one["requests"], failed=one["failed"], bounds_s=told["bounds_s"], buckets=one["buckets"])


def _judged(progress: CanaryProgress, ramp: Ramp, told: dict[str, Any], *, now: float) -> CanaryProgress:
    held = now - progress.since
    said = judge(seen(told, "canary"), seen(told, "stable"), ramp.terms)
    if said.verdict is Verdict.GO_BACK:
        return _back(progress, now, said.why)
    if said.verdict is Verdict.GO_ON and held >= ramp.hold_s:
        return _next(progress, ramp, said, now)
    if held > ramp.longest_s:
        return _back(progress, now, f"not enough to judge within {ramp.longest_s:g} s: {said.why}")
    return progress if progress.why == said.why else replace(progress, why=said.why)


def _next(progress: CanaryProgress, ramp: Ramp, said: Judgement, now: float) -> CanaryProgress:
    following = progress.step + 1
    if following == len(ramp.steps):
        return replace(progress, phase=CanaryPhase.COMPLETED, since=now, why=f"every step was held: {said.why}")
    share = ramp.steps[following]
    return replace(progress, step=following, share=share, since=now, why=f"{share:.0%} to the canary: {said.why}")


def _back(progress: CanaryProgress, now: float, why: str) -> CanaryProgress:
    why = f"taken back at {progress.share:.0%}: {why}"
    return replace(progress, phase=CanaryPhase.TAKEN_BACK, share=0.0, since=now, why=why)
