"""What the page knows: the newest record, the last hour of every deployment, its changes, and what it cost."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from controller.domain.identity import DeploymentId
from controller.domain.record import DeploymentRecord, TickRecord
from controller.web.changes import Change, change
from controller.web.feed import Feed
from controller.web.moments import Moments
from controller.web.spending import Account

KEPT_S = 3600.0
_MOST_MOMENTS = 240_000
"""Ticks kept, all deployments together: bounds the memory (about 50 MB)."""
_MOST_CHANGES = 100


@dataclass(slots=True)
class Watched:
    """What is known of one deployment, oldest first."""

    entry: DeploymentRecord
    moments: Moments
    changes: deque[Change] = field(default_factory=lambda: deque(maxlen=_MOST_CHANGES))
    last_action: Change | None = None
    account: Account = field(default_factory=Account)


class Timeline:
    """Folds records, oldest first; an exporter of the loop. ``feed`` tells of each new one."""

    def __init__(self, *, interval_s: Callable[[], float], feed: Feed) -> None:
        self._interval_s = interval_s
        self._feed = feed
        self._known: dict[DeploymentId, Watched] = {}
        self.record: TickRecord | None = None
        self.since: float | None = None
        """Time of the first record that was taken in (Unix seconds)."""

    def export(self, record: TickRecord) -> None:
        """Take in one tick, and tell whoever follows."""
        changed = self._take(record)
        self._feed.publish(record.tick, _message(record, changed))

    def recall(self, records: Iterable[TickRecord], actions: Iterable[TickRecord] = ()) -> None:
        """Take in what a store kept from before; ``actions`` are older records in which something was to be done."""
        older = [(one, entry) for one in actions for entry in one.deployments]
        for record in records:
            self._take(record)
        for record, entry in older:
            known = self._known.get(entry.decision.id)
            if known is not None and known.last_action is None:
                known.last_action = change(record, entry)

    def deployments(self) -> Sequence[DeploymentId]:
        """Every deployment of the newest record, sorted."""
        return sorted(self._known)

    def find(self, name: str) -> DeploymentId | None:
        """Return the deployment that is written like this, if it is one of the newest record."""
        return next((one for one in self._known if str(one) == name), None)

    def known(self, deployment: DeploymentId) -> Watched:
        """What is known of one deployment of the newest record."""
        return self._known[deployment]

    def changes(self, most: int) -> list[Change]:
        """The newest changes of all deployments, newest first."""
        newest = sorted((one for known in self._known.values() for one in known.changes), key=lambda one: one.at)
        return newest[: -most - 1 : -1]

    def _take(self, record: TickRecord) -> list[Change]:
        if self.record is not None and record.tick <= self.record.tick:
            return []
        self.record = record
        self.since = record.at if self.since is None else self.since
        for gone in self._known.keys() - {entry.decision.id for entry in record.deployments}:
            del self._known[gone]
        size = self._size(len(record.deployments))
        return [made for entry in record.deployments if (made := self._add(record, entry, size))]

    def _add(self, record: TickRecord, entry: DeploymentRecord, size: int) -> Change | None:
        known = self._known.get(entry.decision.id)
        if known is None:
            known = self._known[entry.decision.id] = Watched(entry, Moments(size))
        previous = known.entry if known.moments else None
        known.entry = entry
        known.moments.resize(size)
        known.moments.add(record.at, entry)
        known.account.add(record.at, entry)
        made = change(record, entry)
        if previous is not None and made.repeats(change(record, previous)):
            return None
        known.changes.append(made)
        if made.acted:
            known.last_action = made
        return made

    def _size(self, deployments: int) -> int:
        return max(60, min(math.ceil(KEPT_S / self._interval_s()), _MOST_MOMENTS // max(1, deployments)))


def _message(record: TickRecord, changed: Sequence[Change]) -> str:
    """One tick for those who follow the stream."""
    return json.dumps(
        {
            "tick": record.tick,
            "at": record.at,
            "mode": record.mode,
            "degraded": record.degraded,
            "changes": [
                {
                    "deployment": str(one.id),
                    "before": one.before,
                    "after": one.after,
                    "action": one.action.value,
                    "reason": one.reason.value,
                    "sentence": one.sentence,
                    "outcome": one.outcome.value,
                }
                for one in changed
            ],
        }
    )
