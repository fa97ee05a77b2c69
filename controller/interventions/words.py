"""What people and alerts said, as it passes from one leader to the next: overrides, proposals, the words on these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.interventions.approvals import KIND as PROPOSAL
from controller.interventions.approvals import ApprovalBoard
from controller.interventions.overrides import KIND as OVERRIDE
from controller.interventions.overrides import OverrideBoard

Left = Callable[[], Awaitable[None]]
"""Leaves a word that has just been said where the next leader finds it. Does not raise."""


async def nobody_comes_after() -> None:
    """Where there is one controller only, what its store keeps is enough."""


@dataclass(frozen=True, slots=True)
class SpokenWords:
    """The boards of one controller. Only the leader's take words, so its are all that count."""

    overrides: OverrideBoard
    approvals: ApprovalBoard

    def told(self) -> Mapping[str, Sequence[bytes]]:
        """Everything said, by kind."""
        return {OVERRIDE: self.overrides.bodies(), PROPOSAL: self.approvals.bodies()}

    def heed(self, words: Mapping[str, Sequence[bytes]]) -> None:
        """Go on from what the leader before was told, in place of what this controller remembers."""
        self.overrides.adopt(words.get(OVERRIDE, ()))
        self.approvals.adopt(words.get(PROPOSAL, ()))
