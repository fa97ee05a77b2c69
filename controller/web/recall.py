"""What the page reads from the store: the newest records after a restart, and one decision when it is asked for."""

from __future__ import annotations

import math
from pathlib import Path

from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.policy.model import Policy
from controller.ports import StoreError
from controller.store.reader import StoreReader
from controller.web.shown import OneRecord
from controller.web.timeline import KEPT_S, Timeline

_MOST_ENTRIES = 2000
"""Deployments times ticks that are read: bounds the time that a start waits, about a second."""
_MOST_ACTIONS = 200


def recall(timeline: Timeline, store: Path, policy: Policy) -> None:
    """Fill the timeline with up to an hour, and each deployment's last change; with nothing where none can be read."""
    if not store.exists():
        return
    count = len(policy.deployments)
    ticks = min(math.ceil(KEPT_S / policy.control.interval_s), max(1, _MOST_ENTRIES // count))
    try:
        with StoreReader(store) as reader:
            known = set(reader.deployments())
            actions = [
                found
                for one in policy.deployments[:_MOST_ACTIONS]
                if one.id in known and (found := reader.last_action(one.id)) is not None
            ]
            timeline.recall(reader.records(last=ticks), actions)
    except StoreError:
        return


def one_record_reader(store: Path) -> OneRecord:
    """Return what reads one decision and what followed it."""

    def read(deployment: DeploymentId, tick: int, *, following: int) -> tuple[TickRecord, list[TickRecord]] | None:
        with StoreReader(store) as reader:
            found = reader.tick(tick, deployment=deployment)
            return None if found is None else (found, reader.after(tick, deployment=deployment, limit=following))

    return read
