"""Asks before it acts: what was approved goes on to another actuator, the rest waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.domain.approval import Proposal, ProposalStatus
from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.serve import ServeState
from controller.interventions.approvals import ApprovalBoard
from controller.ports import Actuator, StoreError


class ApprovalActuator:
    """Approve mode. ``inner`` does what was approved."""

    def __init__(self, *, inner: Actuator, board: ApprovalBoard) -> None:
        self._inner = inner
        self._board = board

    async def apply(self, decision: Decision) -> Outcome:
        """Do it, if it was approved; else say what it waits for, or who said no."""
        if decision.action is Action.NONE or decision.desired is None:
            return Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO)
        try:
            proposal = self._board.ask(decision)
            if proposal.status is ProposalStatus.APPROVED:
                return await self._do(decision, proposal)
        except StoreError as error:
            detail = f"it cannot be asked for while the store cannot be written: {error}"
            return Outcome(id=decision.id, status=OutcomeStatus.FAILED, detail=detail)
        if proposal.status is ProposalStatus.REJECTED:
            return Outcome(
                id=decision.id, status=OutcomeStatus.REFUSED, detail=_rejected(proposal), proposal=proposal.id
            )
        return Outcome(id=decision.id, status=OutcomeStatus.AWAITING, detail=_waits(proposal), proposal=proposal.id)

    async def read_state(self) -> ServeState | None:
        """Read the target system's state."""
        return await self._inner.read_state()

    async def close(self) -> None:
        """Nothing to release: ``inner`` belongs to the caller."""

    async def _do(self, decision: Decision, proposal: Proposal) -> Outcome:
        outcome = await self._inner.apply(decision)
        self._board.done(proposal, outcome)
        detail = f"{outcome.detail}; {proposal.id} was approved by {proposal.decided_by}"
        return replace(outcome, detail=detail, proposal=proposal.id)


class LayerConsent:
    """Asks before nodes and workers are set, each target by itself, as of a deployment's."""

    def __init__(self, *, board: ApprovalBoard) -> None:
        self._board = board

    def objection(self, step: LayerStep) -> LayerOutcome | None:
        """Say what a step waits for, or who said no; None where it was approved."""
        try:
            proposal = self._board.ask_step(step)
        except StoreError as error:
            detail = f"it cannot be asked for while the store cannot be written: {error}"
            return LayerOutcome(layer=step.layer, name=step.name, status=OutcomeStatus.FAILED, detail=detail)
        if proposal.status is ProposalStatus.APPROVED:
            return None
        rejected = proposal.status is ProposalStatus.REJECTED
        return LayerOutcome(
            layer=step.layer,
            name=step.name,
            status=OutcomeStatus.REFUSED if rejected else OutcomeStatus.AWAITING,
            detail=_rejected(proposal) if rejected else _waits(proposal),
            proposal=proposal.id,
        )

    def done(self, step: LayerStep, outcomes: Sequence[LayerOutcome]) -> tuple[LayerOutcome, ...]:
        """Note what came of an approved step: that it was set, where some lever did and none failed."""
        proposal = self._board.approved(step)
        if proposal is None or not outcomes:
            return tuple(outcomes)
        worst = max(outcomes, key=lambda one: _GRAVITY.get(one.status, len(_GRAVITY)))
        self._board.done(proposal, worst)
        said = f"{proposal.id} was approved by {proposal.decided_by}"
        return tuple(
            replace(one, detail=f"{one.detail}; {said}" if one.detail else said, proposal=proposal.id)
            for one in outcomes
        )


_GRAVITY = {OutcomeStatus.NOTHING_TO_DO: 0, OutcomeStatus.APPLIED: 1}


def _waits(proposal: Proposal) -> str:
    return f"waits for a word on {proposal.id}: foreserve approve {proposal.id}, or reject"


def _rejected(proposal: Proposal) -> str:
    why = f": {proposal.note}" if proposal.note else ""
    return f"{proposal.id} was rejected by {proposal.decided_by}{why}"
