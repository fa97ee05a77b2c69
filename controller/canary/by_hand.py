"""One canary, driven from the command line until it ends."""

from __future__ import annotations

from collections.abc import Callable

from controller.canary.drive import move
from controller.canary.ramp import Ramp, Splitter
from controller.domain.canary import CanaryPhase, CanaryProgress
from controller.errors import UnavailableError
from controller.ports import Clock

_POLL_S = 1.0


async def run(ramp: Ramp, splitter: Splitter, *, clock: Clock, say: Callable[[str], None]) -> CanaryProgress:
    """Go through the steps. Whatever ends this early, an error included, takes the canary's share back to 0.

    Raises:
        UnavailableError: the splitter cannot be reached at the beginning, or not to take the share back.

    """
    build = f"by hand at {clock.now():.0f}"
    first = await move(None, ramp, splitter, build=build, now=clock.now())
    if first.progress is None:
        raise UnavailableError(first.problem)
    progress = first.progress
    say(progress.why)
    try:
        while progress.phase is CanaryPhase.RAMPING:
            await clock.sleep(_POLL_S)
            moved = await move(progress, ramp, splitter, build=build, now=clock.now())
            after = moved.progress or progress
            if (after.phase, after.step) != (progress.phase, progress.step):
                say(after.why)
            progress = after
    except BaseException:
        await splitter.set(0.0, for_s=None, note="")
        raise
    return progress
