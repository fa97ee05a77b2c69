"""Whose target it is that was found: ours, a redeploy's, or somebody else's."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.domain.plan import Conflict
from controller.domain.scrape import SourceKind
from controller.domain.snapshot import Snapshot
from controller.domain.state import DeploymentMemory, PlannerState

REDEPLOY = "redeploy"
SECOND_WRITER = "second_writer"

_SAME_READING_S = 1e-3


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
    is a second writer: reported once for each new value and accepted, not fought. A target read before
    our own write proves nothing.
    """
    if target == memory.attempted:
        ours = replace(accepted(memory, snapshot, target), last_set_at=now, attempted=None)
        return Claim(memory=ours, base=target)
    expected = memory.last_set
    if expected is None:
        return Claim(memory=memory, base=target)
    if predates_our_write(snapshot, memory):
        return Claim(memory=memory, base=max(target, expected))
    if target == expected:
        return Claim(memory=accepted(memory, snapshot, target), base=target)
    if _redeployed(snapshot, target, memory):
        conflict = Conflict(id=snapshot.id, expected=expected, found=target, cause=REDEPLOY)
        return Claim(memory=memory, base=max(target, expected), reset_from=expected, conflict=conflict)
    conflict = Conflict(id=snapshot.id, expected=expected, found=target, cause=SECOND_WRITER)
    yielded = replace(accepted(memory, snapshot, target), foreign_since=now)
    return Claim(memory=yielded, base=target, conflict=conflict)


def unclaimed(state: PlannerState) -> PlannerState:
    """Expect no particular target: where Serve's own autoscaler moves it, a moved one is nobody's intrusion."""
    forgotten = ((one, replace(memory, last_set=None, attempted=None)) for one, memory in state.deployments)
    return replace(state, deployments=tuple(forgotten))


def read_at(snapshot: Snapshot) -> float:
    """Return when Serve's state was read that this snapshot shows; it may be some ticks old."""
    ages = [source.age_s for source in snapshot.sources if source.kind is SourceKind.SERVE and source.age_s is not None]
    return snapshot.at - min(ages, default=0.0)


def predates_our_write(snapshot: Snapshot, memory: DeploymentMemory) -> bool:
    """Whether Serve has not been read again since this controller last wrote a target."""
    before = memory.last_set_seen_at
    return before is not None and abs(read_at(snapshot) - before) < _SAME_READING_S


def disowned(memory: DeploymentMemory) -> DeploymentMemory:
    """Expect nothing of the target: while another controller acts, what it sets is neither ours nor a stranger's."""
    return replace(memory, last_set=None, last_set_at=None, last_set_seen_at=None, attempted=None)


def accepted(memory: DeploymentMemory, snapshot: Snapshot, target: int) -> DeploymentMemory:
    """Take the found target and configuration as what is to be expected from now on."""
    return replace(memory, last_set=target, last_set_digest=snapshot.config_digest or memory.last_set_digest)


def _redeployed(snapshot: Snapshot, target: int, memory: DeploymentMemory) -> bool:
    if snapshot.config_digest and memory.last_set_digest:
        return snapshot.config_digest != memory.last_set_digest
    # Without both digests, only the configured number itself looks like a reset.
    return target == snapshot.config_replicas
