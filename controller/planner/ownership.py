"""Whose target it is that was found: ours, a redeploy's, or somebody else's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.domain.plan import Conflict
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory

REDEPLOY = "redeploy"
SECOND_WRITER = "second_writer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """How the found target is taken.

    ``base`` is the number to plan from. ``reset_from`` is our earlier target when a redeploy reset it.
    """

    memory: DeploymentMemory
    base: int
    reset_from: int | None = None
    conflict: Conflict | None = None


def claim(snapshot: Snapshot, target: int, memory: DeploymentMemory, *, now: float) -> Claim:
    """Compare the found target with the one this controller last set.

    A redeploy (the configuration changed with the target) lost our target by accident: planning goes
    on from the larger of the two, so that nothing is given up without the usual delay. Anything else
    is a second writer: reported once for each new value and accepted, not fought.
    """
    if target == memory.attempted:
        ours = replace(accepted(memory, snapshot, target), last_set_at=now, attempted=None)
        return Claim(memory=ours, base=target)
    expected = memory.last_set
    if expected is None:
        return Claim(memory=memory, base=target)
    if target == expected:
        return Claim(memory=accepted(memory, snapshot, target), base=target)
    if _redeployed(snapshot, target, memory):
        conflict = Conflict(id=snapshot.id, expected=expected, found=target, cause=REDEPLOY)
        return Claim(memory=memory, base=max(target, expected), reset_from=expected, conflict=conflict)
    conflict = Conflict(id=snapshot.id, expected=expected, found=target, cause=SECOND_WRITER)
    yielded = replace(accepted(memory, snapshot, target), foreign_since=now)
    return Claim(memory=yielded, base=target, conflict=conflict)


def accepted(memory: DeploymentMemory, snapshot: Snapshot, target: int) -> DeploymentMemory:
    """Take the found target and configuration as what is to be expected from now on."""
    return replace(memory, last_set=target, last_set_digest=snapshot.config_digest or memory.last_set_digest)


def _redeployed(snapshot: Snapshot, target: int, memory: DeploymentMemory) -> bool:
    if snapshot.config_digest and memory.last_set_digest:
        return snapshot.config_digest != memory.last_set_digest
    # Without both digests, only the configured number itself looks like a reset.
    return target == snapshot.config_replicas
