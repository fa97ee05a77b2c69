"""Drives a canary's share through its steps, by what the splitter counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from controller.canary.judge import Judgement, Seen, Terms, Verdict, judge
from controller.errors import UnavailableError
from controller.ports import Clock


class Splitter(Protocol):
    """Sends a share of the traffic to the canary, and counts."""

    async def read(self) -> dict[str, Any]:
        """Return what ``GET /-/split`` tells. Raises UnavailableError."""
        ...

    async def set(self, share: float) -> None:
        """Set the canary's share. Raises UnavailableError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Shares in order, how long each is held at least, and at most; the canary's terms."""

    steps: Sequence[float]
    hold_s: float
    longest_s: float
    terms: Terms
    poll_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How it came out: ``completed`` at the last step, or taken back at ``share``."""

    completed: bool
    share: float
    why: str


async def run(ramp: Ramp, splitter: Splitter, *, clock: Clock, say: Callable[[str], None]) -> Ended:
    """Go through the steps. Whatever ends this early, an error included, takes the canary's share back to 0.

    Raises:
        UnavailableError: the splitter cannot be reached, not even to take the share back.

    """
    share = 0.0
    try:
        for share in ramp.steps:
            await splitter.set(share)
            say(f"{share:.0%} to the canary")
            verdict = await _hold(ramp, share, splitter, clock)
            say(f"{share:.0%}: {verdict.why}")
            if verdict.verdict is not Verdict.GO_ON:
                await splitter.set(0.0)
                return Ended(completed=False, share=share, why=verdict.why)
    except BaseException:
        await splitter.set(0.0)
        raise
    return Ended(completed=True, share=share, why="every step was held")


async def _hold(ramp: Ramp, share: float, splitter: Splitter, clock: Clock) -> Judgement:
    """Watch one step until it may be left. Too few requests in ``longest_s`` end it as not good enough."""
    began = clock.monotonic()
    while True:
        await clock.sleep(ramp.poll_s)
        held = clock.monotonic() - began
        try:
            told = await splitter.read()
        except UnavailableError:
            if held > ramp.longest_s:
                raise
            continue
        canary, stable = _seen(told, "canary"), _seen(told, "stable")
        verdict = judge(canary, stable, ramp.terms)
        if verdict.verdict is Verdict.GO_BACK or (verdict.verdict is Verdict.GO_ON and held >= ramp.hold_s):
            return verdict
        if held > ramp.longest_s:
            why = (
                f"only {canary.requests} requests within {ramp.longest_s:g} s at {share:.0%} "
                f"(stable {stable.requests}): not enough to judge"
            )
            return Judgement(Verdict.WAIT, why)


def _seen(told: dict[str, Any], build: str) -> Seen:
    one = told[build]
    return Seen(requests=one["requests"], failed=one["failed"], bounds_s=told["bounds_s"], buckets=one["buckets"])
