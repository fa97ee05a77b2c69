"""Whether this controller acts, asked anew before each write; and what the one that does not act remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.domain.cluster_record import Leading
from controller.domain.state import PlannerState
from controller.planner.ownership import disowned
from controller.ports import Leadership


@dataclass(frozen=True, slots=True)
class Term:
    """One tick's view of who leads: what was planned in it is done in it, or not at all. Alone, it may always act."""

    leadership: Leadership | None
    number: int

    @classmethod
    def now(cls, leadership: Leadership | None) -> Term:
        """The term that the tick begins in."""
        return cls(leadership, 0 if leadership is None else leadership.term)

    def standby(self) -> str | None:
        """Why nothing may be written now; None when it may."""
        if self.leadership is None:
            return None
        if not self.leadership.may_act():
            return f"another controller acts: {self.leadership.standing}"
        if self.leadership.term != self.number:
            return f"the leader changed after this was planned: {self.leadership.standing}"
        return None

    def told(self) -> Leading | None:
        """For the record."""
        if self.leadership is None:
            return None
        leads = self.leadership.may_act()
        return Leading(leads=leads, term=self.leadership.term, standing=self.leadership.standing)

    def remembered(self, state: PlannerState) -> PlannerState:
        """Plan as an onlooker while another controller acts: its targets are not a stranger's, nor ours."""
        if self.standby() is None:
            return state
        return replace(state, deployments=tuple((name, disowned(memory)) for name, memory in state.deployments))
