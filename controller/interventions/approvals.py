"""Plans that wait for a person's word: what was proposed, what was said to it, and what came of that."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from controller.codec import dump_proposal, load_proposal
from controller.domain.approval import Proposal, ProposalStatus
from controller.domain.cluster import LayerOutcome, LayerStep
from controller.domain.identity import DeploymentId
from controller.domain.layer import Layer
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus, Reason
from controller.domain.record import TickRecord
from controller.errors import ForeserveError
from controller.policy.model import Mode, Policy
from controller.ports import Clock, Shelf, StoreError

KIND = "proposal"
"""What proposals are called on a shelf."""

_MOST_KEPT = 200
"""Proposals that are remembered with what came of them."""


class UnknownProposalError(ForeserveError):
    """There is no proposal of that id."""


class StaleProposalError(ForeserveError):
    """The proposal no longer waits: saying anything to it does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What is to be asked for: a deployment's replicas, or the target of another layer."""

    subject: tuple[Layer, str]
    deployment: DeploymentId | None
    before: int | None
    after: int
    most: int | None = None
    reason: Reason | None = None
    detail: str = ""

    def same(self, one: Proposal) -> bool:
        """Whether a proposal is of this change. Counts below move by themselves, so there only the target counts."""
        if self.subject[0] is not Layer.REPLICA:
            return (one.to_replicas, one.most) == (self.after, self.most)
        return (one.from_replicas, one.to_replicas) == (self.before, self.after)


class ApprovalBoard:
    """One proposal at most waits for each deployment, pool and worker group; every change is stored before it counts.

    It is an exporter too: a record that no longer plans what is proposed makes the proposal stale.
    """

    def __init__(
        self,
        *,
        shelf: Shelf,
        clock: Clock,
        policy: Callable[[], Policy],
        new_id: Callable[[], str] = lambda: f"p-{secrets.token_hex(4)}",
    ) -> None:
        """Take up what an earlier process left. Raises StoreError."""
        self._shelf = shelf
        self._clock = clock
        self._policy = policy
        self._new_id = new_id
        kept = [load_proposal(body) for body in shelf.everything(KIND)]
        found = sorted((one for one in kept if one is not None), key=lambda one: one.made_at)
        self._proposals = {one.id: one for one in found}

    def proposals(self) -> tuple[Proposal, ...]:
        """Return all that are remembered, newest first; one that nobody answered in time is EXPIRED."""
        self._expire()
        return tuple(reversed(self._proposals.values()))

    def proposal(self, name: str) -> Proposal:
        """Return one. Raises UnknownProposalError."""
        self._expire()
        try:
            return self._proposals[name]
        except KeyError:
            msg = f"there is no proposal {name}; foreserve approvals lists what waits"
            raise UnknownProposalError(msg) from None

    def approve(self, name: str, *, by: str, note: str = "") -> Proposal:
        """Say yes; the next tick acts on it if it still plans the same.

        Raises UnknownProposalError; StaleProposalError: it does not wait any more; StoreError: it was not noted.
        """
        return self._answer(name, ProposalStatus.APPROVED, by, note)

    def reject(self, name: str, *, by: str, note: str = "") -> Proposal:
        """Say no; the same change is not proposed again for as long as a plan waits. Raises like ``approve``."""
        return self._answer(name, ProposalStatus.REJECTED, by, note)

    def ask(self, decision: Decision) -> Proposal:
        """Return what was said to a decision: OPEN when nothing yet, APPROVED or REJECTED. Raises StoreError.

        Other proposals for the deployment are stale from then on.
        """
        return self._asked(
            _Change(
                subject=(Layer.REPLICA, str(decision.id)),
                deployment=decision.id,
                before=decision.current,
                after=decision.desired or 0,
                reason=decision.binding,
                detail=next((step.detail for step in decision.steps if step.reason is decision.binding), ""),
            )
        )

    def ask_step(self, step: LayerStep) -> Proposal:
        """Return what was said to a target of a pool or a worker group. See ``ask``."""
        return self._asked(
            _Change(
                subject=(step.layer, step.name),
                deployment=None,
                before=step.found,
                after=step.wanted,
                most=step.most,
                detail=step.detail,
            )
        )

    def approved(self, step: LayerStep) -> Proposal | None:
        """Return the approved proposal of a step that is to be done now, if there is one."""
        wanted = (step.layer, step.name)
        found = (one for one in self._proposals.values() if _subject(one) == wanted)
        return next((one for one in found if one.status is ProposalStatus.APPROVED), None)

    def done(self, proposal: Proposal, outcome: Outcome | LayerOutcome) -> None:
        """Note what came of an approved one. Doing the same once more would change nothing, so this never raises."""
        applied = outcome.status is OutcomeStatus.APPLIED
        status = ProposalStatus.APPLIED if applied else ProposalStatus.NOT_APPLIED
        self._note(replace(proposal, status=status, note=outcome.detail))

    def export(self, record: TickRecord) -> None:
        """Make stale what a finished tick does not plan any more."""
        planned = {
            (Layer.REPLICA, str(one.decision.id))
            for one in record.deployments
            if one.decision.action is not Action.NONE
        }
        planned |= {(step.layer, step.name) for step in (record.cluster.steps if record.cluster else ())}
        asks = record.mode == Mode.APPROVE.value
        for one in [one for one in self._proposals.values() if one.status.waits]:
            if not (asks and _subject(one) in planned):
                why = "the plan is to leave the target as it is now" if asks else f"the mode is {record.mode} now"
                self._note(_stale(one, why, self._clock.now()))

    def bodies(self) -> tuple[bytes, ...]:
        """Return all that are remembered, as they are stored."""
        return tuple(dump_proposal(one) for _, one in sorted(self._proposals.items()))

    def adopt(self, bodies: Sequence[bytes]) -> None:
        """Remember these in place of those remembered until now, also while they cannot be stored."""
        kept = [one for body in bodies if (one := load_proposal(body)) is not None]
        with contextlib.suppress(StoreError):
            for gone in set(self._proposals) - {one.id for one in kept}:
                self._shelf.drop(KIND, gone)
        self._proposals = {}
        for one in sorted(kept, key=lambda one: one.made_at):
            self._note(one)

    def _answer(self, name: str, status: ProposalStatus, by: str, note: str) -> Proposal:
        found = self.proposal(name)
        if found.status is not ProposalStatus.OPEN:
            said = f" by {found.decided_by}" if found.decided_by else ""
            why = f": {found.note}" if found.note else ""
            what = f"{found.id} ({found.subject}: {_change(found.from_replicas, found.to_replicas)})"
            msg = f"{what} is {found.status.value.replace('_', ' ')}{said}{why}; nothing was done"
            raise StaleProposalError(msg)
        now = self._clock.now()
        answered = replace(
            found,
            status=status,
            decided_by=by,
            decided_at=now,
            note=note,
            expires_at=now + self._policy().approval.expires_after_s,
        )
        self._keep(answered)
        return answered

    def _asked(self, change: _Change) -> Proposal:
        self._expire()
        now = self._clock.now()
        of_it = [one for one in self._proposals.values() if _subject(one) == change.subject]
        same = [one for one in of_it if change.same(one)]
        for one in of_it:
            if one.status.waits and one not in same:
                self._keep(_stale(one, f"the plan is {_change(change.before, change.after)} now", now))
        waiting = [one for one in same if one.status.waits]
        refused = [one for one in same if one.status is ProposalStatus.REJECTED and now < one.expires_at]
        return next(iter([*waiting, *refused]), None) or self._propose(change, now)

    def _propose(self, change: _Change, now: float) -> Proposal:
        made = Proposal(
            id=self._new_id(),
            deployment=change.deployment,
            from_replicas=change.before,
            to_replicas=change.after,
            reason=change.reason,
            detail=change.detail,
            made_at=now,
            expires_at=now + self._policy().approval.expires_after_s,
            layer=change.subject[0],
            name="" if change.deployment is not None else change.subject[1],
            most=change.most,
        )
        self._keep(made)
        return made

    def _expire(self) -> None:
        now = self._clock.now()
        for one in [one for one in self._proposals.values() if one.status.waits and one.expires_at <= now]:
            was_open = one.status is ProposalStatus.OPEN
            note = "nobody said anything in time" if was_open else "approved, and not planned again in time"
            self._note(replace(one, status=ProposalStatus.EXPIRED, note=note))

    def _note(self, proposal: Proposal) -> None:
        """Keep what is true whether or not it can be stored."""
        try:
            self._keep(proposal)
        except StoreError:
            self._proposals[proposal.id] = proposal

    def _keep(self, proposal: Proposal) -> None:
        self._shelf.put(KIND, proposal.id, dump_proposal(proposal))
        self._proposals[proposal.id] = proposal
        over = [one.id for one in self._proposals.values() if not one.status.waits][:-_MOST_KEPT]
        for name in over:
            self._shelf.drop(KIND, name)
            del self._proposals[name]


def _subject(one: Proposal) -> tuple[Layer, str]:
    return one.layer, one.name or str(one.deployment)


def _stale(proposal: Proposal, why: str, now: float) -> Proposal:
    return replace(proposal, status=ProposalStatus.STALE, note=why, decided_at=proposal.decided_at or now)


def _change(before: int | None, after: int | None) -> str:
    return f"{'unknown' if before is None else before} → {after}"
