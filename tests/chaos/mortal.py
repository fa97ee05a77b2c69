"""A controller that dies at a chosen call of one of its ports, before or after the call has its effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.domain.lasting import Piece
from controller.domain.plan import Decision, Outcome
from controller.domain.record import TickRecord
from controller.domain.serve import ServeState
from controller.domain.state import PlannerState
from controller.ports import Lasting, Store
from tests.scenarios.simulated import SimulatedActuator


class KilledError(BaseException):
    """The process is no more. Not an Exception, which the loop would survive."""


@dataclass
class Life:
    """Ends at the call numbered ``ends_at`` (from 0), after its effect if ``after``; after the end no port works."""

    ends_at: int | None = None
    after: bool = False
    calls: list[str] = field(default_factory=list)
    ended: bool = False

    def before(self, name: str) -> None:
        self._check()
        self.calls.append(name)
        if not self.after:
            self._maybe_end()

    def afterwards(self) -> None:
        if self.after:
            self._maybe_end()

    def _maybe_end(self) -> None:
        if self.ends_at is not None and len(self.calls) > self.ends_at:
            self.ended = True
        self._check()

    def _check(self) -> None:
        if self.ended:
            raise KilledError


@dataclass
class MortalStore:
    store: Store
    life: Life

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        self.life.before("begin")
        self.store.begin(record, state)
        self.life.afterwards()

    def finish(self, record: TickRecord, state: PlannerState, lasting: Lasting) -> None:
        self.life.before("finish")
        self.store.finish(record, state, lasting)
        self.life.afterwards()

    def keep(self, pieces: Sequence[Piece]) -> None:
        self.store.keep(pieces)

    def close(self) -> None:
        self.store.close()


@dataclass
class MortalActuator:
    actuator: SimulatedActuator
    life: Life

    async def apply(self, decision: Decision) -> Outcome:
        self.life.before("apply")
        outcome = await self.actuator.apply(decision)
        self.life.afterwards()
        return outcome

    async def read_state(self) -> ServeState | None:
        return await self.actuator.read_state()

    async def close(self) -> None:
        pass


@dataclass
class MortalExporter:
    life: Life

    def export(self, _: TickRecord) -> None:
        self.life.before("export")
        self.life.afterwards()
