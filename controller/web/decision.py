"""One decision, as the template needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.domain.record import TickRecord
from controller.explain.explanation import explanation
from controller.web.changes import Change, sentence, settled


def decision(record: TickRecord, later: Sequence[TickRecord], changes: Sequence[Change]) -> dict[str, Any]:
    """Build everything that ``decision.html`` shows: of the only deployment in ``record``.

    ``later`` are its following records, ``changes`` its changes; both oldest first.
    """
    entry = record.deployments[0]
    before = [one.tick for one in changes if one.tick < record.tick]
    after = [one.tick for one in changes if one.tick > record.tick]
    return {
        "id": entry.decision.id,
        "told": explanation(record, entry, later),
        "decision": entry.decision,
        "why": sentence(entry.decision),
        "setting": settled(entry.decision.steps),
        "earlier": before[-1] if before else None,
        "later": after[0] if after else None,
    }
