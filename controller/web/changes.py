"""What is worth a line in the list of decisions: changes of a target, and changes of the reason for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision, OutcomeStatus, Reason, Step
from controller.domain.record import DeploymentRecord, TickRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line. ``action`` is ``NONE`` where only the reason changed."""

    tick: int
    at: float
    id: DeploymentId
    before: int | None
    after: int | None
    action: Action
    reason: Reason
    sentence: str
    outcome: OutcomeStatus
    outcome_detail: str

    @property
    def acted(self) -> bool:
        """Whether something was to be done."""
        return self.action is not Action.NONE

    def repeats(self, earlier: Change) -> bool:
        """Whether the tick before said the same: kept for the same reason, or planned again and not done again."""
        if not self.acted:
            return not earlier.acted and earlier.reason is self.reason
        same = (earlier.before, earlier.after, earlier.reason, earlier.outcome)
        return self.outcome is not OutcomeStatus.APPLIED and same == (
            self.before,
            self.after,
            self.reason,
            self.outcome,
        )


def change(record: TickRecord, entry: DeploymentRecord) -> Change:
    """Make the line of one deployment's decision."""
    decision = entry.decision
    return Change(
        tick=record.tick,
        at=record.at,
        id=decision.id,
        before=decision.current,
        after=decision.desired,
        action=decision.action,
        reason=decision.binding,
        sentence=sentence(decision),
        outcome=entry.outcome.status,
        outcome_detail=entry.outcome.detail,
    )


def sentence(decision: Decision) -> str:
    """The arithmetic behind the final number: of the stage that first named its reason, and of the one that set it."""
    place = settled(decision.steps)
    named = next((step for step in decision.steps if step.reason is decision.binding and step.detail), None)
    setting = None if place is None else decision.steps[place]
    parts = [step.detail for step in dict.fromkeys((named, setting)) if step is not None and step.detail]
    return "; ".join(dict.fromkeys(parts))


def settled(steps: Sequence[Step]) -> int | None:
    """Place of the stage that set the final number: no later one changed it. None without stages."""
    place = len(steps) - 1
    while place > 0 and steps[place - 1].replicas == steps[-1].replicas:
        place -= 1
    return place if steps else None
