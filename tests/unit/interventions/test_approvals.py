"""A plan waits for a word; a word that comes too late does nothing and says so."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.actuators.approval import ApprovalActuator
from controller.domain.approval import ProposalStatus
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.domain.serve import ServeState
from controller.interventions.approvals import ApprovalBoard, StaleProposalError, UnknownProposalError
from controller.interventions.copied import CopiedShelf
from controller.policy.model import Policy
from controller.ports import StoreError
from controller.store.sqlite import SqliteStore
from tests.clocks import VirtualClock
from tests.planning import policy
from tests.records import CHAT, EMBED, decision, deployment_record, record

POLICY = Policy.model_validate(
    {"version": 1, "mode": "approve", "deployments": [policy()], "approval": {"expires_after_s": 300}}
)


@dataclass
class Recording:
    """Does what it is asked, or fails."""

    applied: list[Decision] = field(default_factory=list)
    status: OutcomeStatus = OutcomeStatus.APPLIED

    async def apply(self, wanted: Decision) -> Outcome:
        self.applied.append(wanted)
        return Outcome(id=wanted.id, status=self.status, detail="target 2 → 3", attempts=1)

    async def read_state(self) -> ServeState | None:
        return None

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Scene:
    board: ApprovalBoard
    inner: Recording
    actuator: ApprovalActuator
    clock: VirtualClock

    async def tick(self, *decisions: Decision, mode: str = "approve") -> list[Outcome]:
        """Plan these, ask, and show the record."""
        outcomes = [
            Outcome(id=one.id, status=OutcomeStatus.NOTHING_TO_DO)
            if one.action is Action.NONE
            else await self.actuator.apply(one)
            for one in decisions
        ]
        entries = [
            deployment_record(one.id, decision=one, outcome=outcome)
            for one, outcome in zip(decisions, outcomes, strict=True)
        ]
        self.board.export(record(*entries, mode=mode))
        self.clock.advance(10)
        return outcomes


def board_on(shelf: Any, clock: VirtualClock) -> ApprovalBoard:
    numbers = iter(range(1, 1000))
    return ApprovalBoard(shelf=shelf, clock=clock, policy=lambda: POLICY, new_id=lambda: f"p-{next(numbers)}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "s.db")
    yield opened
    opened.close()


@pytest.fixture
def scene(store: SqliteStore) -> Scene:
    clock, inner = VirtualClock(1000.0), Recording()
    board = board_on(store, clock)
    return Scene(board, inner, ApprovalActuator(inner=inner, board=board), clock)


UP = decision()
MORE = decision(desired=4)
STAY = decision(desired=2, action=Action.NONE)


async def test_nothing_is_done_until_somebody_says_yes_and_then_once(scene: Scene) -> None:
    (first,) = await scene.tick(UP)
    (second,) = await scene.tick(UP)
    assert (first.status, first.proposal) == (OutcomeStatus.AWAITING, "p-1")
    assert second == first
    assert scene.inner.applied == []

    scene.board.approve("p-1", by="alice", note="go")
    (done,) = await scene.tick(UP)

    assert scene.inner.applied == [UP]
    assert (done.status, done.proposal) == (OutcomeStatus.APPLIED, "p-1")
    assert done.detail == "target 2 → 3; p-1 was approved by alice"
    assert scene.board.proposal("p-1").status is ProposalStatus.APPLIED
    assert (await scene.tick(UP))[0].proposal == "p-2"


async def test_a_word_on_a_plan_that_changed_does_nothing_and_says_so(scene: Scene) -> None:
    await scene.tick(UP)
    await scene.tick(MORE)

    with pytest.raises(StaleProposalError) as caught:
        scene.board.approve("p-1", by="alice")

    assert str(caught.value) == ("p-1 (chat/LLMServer:tiny: 2 → 3) is stale: the plan is 2 → 4 now; nothing was done")
    await scene.tick(MORE)
    assert scene.inner.applied == []


async def test_a_plan_that_changes_after_the_word_is_not_done_either(scene: Scene) -> None:
    await scene.tick(UP)
    scene.board.approve("p-1", by="alice")

    (outcome,) = await scene.tick(MORE)

    assert (outcome.status, outcome.proposal) == (OutcomeStatus.AWAITING, "p-2")
    assert scene.inner.applied == []
    assert (scene.board.proposal("p-1").status, scene.board.proposal("p-1").note) == (
        ProposalStatus.STALE,
        "the plan is 2 → 4 now",
    )


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ({"decisions": [STAY]}, "the plan is to leave the target as it is now"),
        ({"decisions": [STAY], "mode": "direct"}, "the mode is direct now"),
    ],
)
async def test_what_is_not_planned_any_more_no_longer_waits(scene: Scene, then: dict[str, Any], why: str) -> None:
    await scene.tick(UP)

    await scene.tick(*then.pop("decisions"), **then)

    with pytest.raises(StaleProposalError, match=why):
        scene.board.approve("p-1", by="alice")


async def test_a_no_holds_as_long_as_a_plan_waits(scene: Scene) -> None:
    await scene.tick(UP)
    scene.board.reject("p-1", by="bob", note="too dear")

    (refused,) = await scene.tick(UP)
    scene.clock.advance(300)
    (asked_again,) = await scene.tick(UP)

    assert (refused.status, refused.detail) == (OutcomeStatus.REFUSED, "p-1 was rejected by bob: too dear")
    assert (asked_again.status, asked_again.proposal) == (OutcomeStatus.AWAITING, "p-2")
    assert scene.board.proposal("p-1").status is ProposalStatus.REJECTED


async def test_a_no_is_to_one_plan_not_to_every_other(scene: Scene) -> None:
    await scene.tick(UP)
    scene.board.reject("p-1", by="bob")

    (outcome,) = await scene.tick(MORE)
    (again,) = await scene.tick(UP)

    assert (outcome.status, again.status) == (OutcomeStatus.AWAITING, OutcomeStatus.REFUSED)


async def test_a_word_that_comes_too_late_does_nothing(scene: Scene) -> None:
    await scene.tick(UP)
    scene.clock.advance(300)

    with pytest.raises(StaleProposalError, match="is expired: nobody said anything in time; nothing was done"):
        scene.board.approve("p-1", by="alice")

    assert (await scene.tick(UP))[0].proposal == "p-2"


async def test_the_second_word_is_told_of_the_first(scene: Scene) -> None:
    await scene.tick(UP)
    scene.board.reject("p-1", by="bob", note="too dear")

    with pytest.raises(StaleProposalError, match="is rejected by bob: too dear; nothing was done"):
        scene.board.approve("p-1", by="alice")


def test_a_proposal_that_never_was_is_unknown(scene: Scene) -> None:
    with pytest.raises(UnknownProposalError, match="there is no proposal p-7"):
        scene.board.approve("p-7", by="alice")


async def test_deployments_wait_for_words_of_their_own(scene: Scene) -> None:
    other = decision(EMBED)
    await scene.tick(UP, other)
    scene.board.approve("p-2", by="alice")

    first, second = await scene.tick(UP, other)

    assert (first.status, second.status) == (OutcomeStatus.AWAITING, OutcomeStatus.APPLIED)
    assert scene.inner.applied == [other]


async def test_what_failed_is_noted_and_asked_for_again(scene: Scene) -> None:
    scene.inner.status = OutcomeStatus.FAILED
    await scene.tick(UP)
    scene.board.approve("p-1", by="alice")

    await scene.tick(UP)

    assert scene.board.proposal("p-1").status is ProposalStatus.NOT_APPLIED
    assert (await scene.tick(UP))[0].proposal == "p-2"


async def test_a_restart_remembers_what_waits_and_what_was_said(scene: Scene, store: SqliteStore) -> None:
    await scene.tick(UP, decision(EMBED))
    scene.board.approve("p-2", by="alice")

    after = board_on(store, scene.clock)

    assert {one.id: one.status for one in after.proposals()} == {
        "p-1": ProposalStatus.OPEN,
        "p-2": ProposalStatus.APPROVED,
    }
    assert after.ask(decision(EMBED)).decided_by == "alice"


async def test_what_cannot_be_stored_is_not_asked_for_and_not_done() -> None:
    class Full(CopiedShelf):
        def put(self, *_: Any) -> None:
            msg = "s.db: the disk is full"
            raise StoreError(msg)

    inner = Recording()

    outcome = await ApprovalActuator(inner=inner, board=board_on(Full(), VirtualClock())).apply(UP)

    assert outcome.status is OutcomeStatus.FAILED
    assert "the disk is full" in outcome.detail
    assert inner.applied == []


async def test_only_so_much_of_the_past_is_remembered(scene: Scene, store: SqliteStore) -> None:
    for desired in range(3, 300):
        await scene.tick(decision(desired=desired))

    assert len(scene.board.proposals()) == 201
    assert len(store.everything("proposal")) == 201
    assert scene.board.proposals()[0].status is ProposalStatus.OPEN
    assert scene.board.proposals()[0].deployment == CHAT
