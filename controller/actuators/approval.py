"""Asks before it acts: what was approved goes on to another actuator, the rest waits."""

from __future__ import annotations

from dataclasses import replace

from controller.domain.approval import Proposal, ProposalStatus
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
            why = f": {proposal.note}" if proposal.note else ""
            detail = f"{proposal.id} was rejected by {proposal.decided_by}{why}"
            return Outcome(id=decision.id, status=OutcomeStatus.REFUSED, detail=detail, proposal=proposal.id)
        detail = f"waits for a word on {proposal.id}: foreserve approve {proposal.id}, or reject"
        return Outcome(id=decision.id, status=OutcomeStatus.AWAITING, detail=detail, proposal=proposal.id)

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
