"""Whether this controller acts, asked anew before each write; and how its knowledge passes to the next one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.domain.cluster_record import Leading
from controller.domain.state import PlannerState
from controller.errors import UnavailableError
from controller.planner.ownership import disowned
from controller.ports import HandOver, Leadership, Words


@dataclass(frozen=True, slots=True)
class Term:
    """One tick's view of who leads: what was planned in it is done in it, or not at all. Alone, it may always act.

    ``problem`` keeps a new leader from acting before it knows what the one before it did.
    """

    leadership: Leadership | None
    number: int
    problem: str | None = None

    def standby(self) -> str | None:
        """Why nothing may be written now; None when it may."""
        if self.leadership is None:
            return None
        if not self.leadership.may_act():
            return f"another controller acts: {self.leadership.standing}"
        if self.leadership.term != self.number:
            return f"the leader changed after this was planned: {self.leadership.standing}"
        return self.problem

    def told(self) -> Leading | None:
        """For the record."""
        if self.leadership is None:
            return None
        standing = self.leadership.standing
        return Leading(
            leads=self.standby() is None,
            term=self.number,
            standing=standing if self.problem is None else f"{standing}; {self.problem}",
        )

    def remembered(self, state: PlannerState) -> PlannerState:
        """Plan as an onlooker while another controller acts: its targets are not a stranger's, nor ours."""
        if self.standby() is None:
            return state
        return replace(state, deployments=tuple((name, disowned(memory)) for name, memory in state.deployments))


class Succession:
    """Takes over from the leader before, once a term, and leaves all for the next one before anything is done."""

    def __init__(self, leadership: Leadership | None, hand_over: HandOver | None, words: Words | None = None) -> None:
        self._leadership = leadership
        self._hand_over = hand_over
        self._words = words
        self._taken: int | None = None

    async def begin(self, state: PlannerState) -> tuple[Term, PlannerState]:
        """Begin a tick: in which term, and with which state. A new leader goes on from what the last one left."""
        leadership = self._leadership
        if leadership is None:
            return Term(None, 0), state
        number = leadership.term
        if self._hand_over is None or not leadership.may_act() or self._taken == number:
            return Term(leadership, number), state
        try:
            left = await self._hand_over.take()
        except UnavailableError as error:
            return Term(leadership, number, f"what the leader before did is not known: {error}"), state
        self._taken = number
        if left is None:
            return Term(leadership, number), state
        if self._words is not None and left.words is not None:
            self._words.heed(left.words)
        return Term(leadership, number), left.state

    async def leave(self, term: Term, state: PlannerState, *, tick: int) -> str | None:
        """Keep the state where the next leader finds it; return what is wrong when that fails."""
        if self._hand_over is None or term.standby() is not None:
            return None
        try:
            await self._hand_over.publish(state, {} if self._words is None else self._words.told(), tick=tick)
        except UnavailableError as error:
            return f"nothing is lowered while the state cannot be left for the next leader: {error}"
        return None
