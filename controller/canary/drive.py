"""Moves one canary: reads the splitter, thinks, and sets the share. The same for the controller and the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.canary.ramp import LEASE_S, Ramp, Splitter, advance, begin
from controller.codec import dump_canary, load_canary
from controller.domain.canary import CanaryPhase, CanaryProgress
from controller.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class Moved:
    """Where it is now, what the splitter told, and what went wrong in words."""

    progress: CanaryProgress | None
    told: dict[str, Any] | None
    problem: str = ""


async def move(progress: CanaryProgress | None, ramp: Ramp, splitter: Splitter, *, build: str, now: float) -> Moved:
    """Read, think and set once. What cannot be set has not happened: the same is tried again next time.

    The splitter keeps where the canary is, so that another controller goes on from there.
    """
    told, problem = await _read(splitter)
    known = _newer(progress, told, build)
    if known is None:
        if told is None:
            return Moved(None, None, problem)
        known = wanted = begin(ramp, build, now=now)
        changed = True
    else:
        wanted = advance(known, ramp, told, now=now)
        changed = (wanted.phase, wanted.step, wanted.since) != (known.phase, known.step, known.since)
    if wanted.phase is CanaryPhase.OVERRIDDEN or not (changed or wanted.phase is CanaryPhase.RAMPING):
        return Moved(wanted, told, problem)
    lasts_s = LEASE_S if wanted.phase is CanaryPhase.RAMPING else None
    try:
        await splitter.set(wanted.share, for_s=lasts_s, note=dump_canary(wanted).decode())
    except UnavailableError as error:
        return Moved(progress, told, str(error))
    return Moved(wanted, told, problem)


async def _read(splitter: Splitter) -> tuple[dict[str, Any] | None, str]:
    try:
        return await splitter.read(), ""
    except UnavailableError as error:
        return None, str(error)


def _newer(own: CanaryProgress | None, told: dict[str, Any] | None, build: str) -> CanaryProgress | None:
    """Return the newer one of what is remembered here and there of this build."""
    noted = load_canary(told["note"]) if told is not None and told["note"] else None
    known = [one for one in (own, noted) if one is not None and one.build == build]
    return max(known, key=lambda one: one.since, default=None)
