"""What must hold whatever breaks, checked on the records of a run."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.plan import Action, Reason
from controller.domain.record import TickRecord
from tests.scenarios.world import INTERVAL_S, chat, lowered

RECOVERY_TICKS = 2


class BrokenError(AssertionError):
    """An invariant does not hold."""


def nothing_lowered(records: Sequence[TickRecord]) -> None:
    """No target was lowered in these ticks."""
    if down := lowered(list(records)):
        decision = down[0].decision
        msg = f"lowered from {decision.current} to {decision.desired}: {decision.binding}"
        raise BrokenError(msg)


def within(records: Sequence[TickRecord], least: int, most: int) -> None:
    """No target outside the limits was wanted."""
    for record in records:
        desired = chat(record).decision.desired
        if desired is not None and not least <= desired <= most:
            msg = f"tick {record.tick} wants {desired}, outside {least} to {most}"
            raise BrokenError(msg)


def one_record_per_tick(records: Sequence[TickRecord]) -> None:
    """Ticks count up without a gap or a repetition."""
    ticks = [record.tick for record in records]
    if ticks != list(range(ticks[0], ticks[0] + len(ticks))):
        msg = f"ticks are {ticks}"
        raise BrokenError(msg)


def recovery_s(after: Sequence[TickRecord]) -> float:
    """Seconds from the end of the cause until a tick sees and decides normally. At most two ticks are allowed."""
    for number, record in enumerate(after):
        seen = chat(record)
        if not seen.snapshot.blind_spots and seen.decision.binding is not Reason.NO_DATA:
            if number > RECOVERY_TICKS:
                msg = f"recovered only after {number} ticks"
                raise BrokenError(msg)
            return number * INTERVAL_S
    msg = "never recovered"
    raise BrokenError(msg)


def acts(records: Sequence[TickRecord]) -> list[tuple[Action, int | None]]:
    """What was done, in order."""
    return [
        (chat(record).decision.action, chat(record).decision.desired)
        for record in records
        if chat(record).decision.action is not Action.NONE
    ]
