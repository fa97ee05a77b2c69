"""What the page is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.api.health import not_alive
from controller.api.tokens import Tokens
from controller.domain.approval import Proposal
from controller.domain.identity import DeploymentId
from controller.domain.record import TickRecord
from controller.export.latest import LatestTick
from controller.loop.thinking import Considered
from controller.policy.load import LoadedPolicy
from controller.web.feed import Feed
from controller.web.replanning import Replanning
from controller.web.timeline import Timeline


class OneRecord(Protocol):
    """Reads one deployment's record of one tick, and those that follow it, from the store."""

    def __call__(
        self, deployment: DeploymentId, tick: int, *, following: int
    ) -> tuple[TickRecord, list[TickRecord]] | None:
        """Return them, oldest first; None where there is no such record. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Where everything that is shown comes from. Nothing of it is changed from here."""

    timeline: Timeline
    feed: Feed
    latest: LatestTick
    policy: Callable[[], LoadedPolicy]
    record: OneRecord
    considered: Callable[[], Considered | None]
    proposals: Callable[[], Sequence[Proposal]] = tuple
    tokens: Callable[[], Tokens] = Tokens
    replanning: Replanning = field(default_factory=Replanning)

    @property
    def interval_s(self) -> float:
        """Seconds between two ticks."""
        return self.policy().policy.control.interval_s

    @property
    def stalled(self) -> str | None:
        """Why the loop counts as stuck, or None."""
        return not_alive(self.latest.age_s, interval_s=self.interval_s)
