"""The control loop: one tick, top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from controller.domain.plan import Outcome
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.loop.acting import act, pending, refuse_unrecorded
from controller.loop.collection import Collection
from controller.loop.foresight import Foresight
from controller.loop.journal import Journal
from controller.loop.learned import Learned
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.loop.recording import Draft
from controller.loop.step_timer import StepTimer
from controller.loop.thinking import Considered, think
from controller.planner.decide import note_outcomes
from controller.policy.model import Mode
from controller.ports import Actuator, Clock, Exporter, LoopEvent, LoopObserver, Overrides, no_overrides

_COLLECT_SHARE_OF_INTERVAL = 0.8
_COLLECT_AT_MOST_S = 5.0


class ControlLoop:
    """Turns what is seen into what is done, once per tick, and keeps a record of it.

    ``state`` and ``last_tick`` come from the store after a restart. ``actuators`` has one for each mode; one
    that takes longer than ``act_within_s`` for a decision has failed it. ``considered`` is what the last plan was
    made from.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        policy: PolicyInForce,
        collection: Collection,
        perception: Perception,
        foresight: Foresight,
        actuators: Mapping[Mode, Actuator],
        journal: Journal,
        exporters: Sequence[Exporter],
        observer: LoopObserver,
        log: FilteringBoundLogger,
        state: PlannerState,
        last_tick: int,
        overrides: Overrides = no_overrides,
        act_within_s: float = 10.0,
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._collection = collection
        self._perception = perception
        self._foresight = foresight
        self._actuators = actuators
        self._journal = journal
        self._exporters = exporters
        self._observer = observer
        self._log = log
        self._state = state
        self._tick = last_tick
        self._overrides = overrides
        self._act_within_s = act_within_s
        self._learned = Learned(perception, foresight)
        self.considered: Considered | None = None

    @property
    def interval_s(self) -> float:
        """Seconds between two ticks, by the policy in force."""
        return self._policy.policy.control.interval_s

    async def attempt(self) -> TickRecord | None:
        """Run one tick; one that fails is logged and counted, and the next one starts afresh."""
        try:
            return await self.tick()
        except Exception:  # noqa: BLE001 - the one place: a bug must not end the loop
            self._observer.note(LoopEvent.TICK_FAILED)
            self._log.exception("tick_failed", tick=self._tick)
            return None

    async def tick(self) -> TickRecord:
        """Collect, observe, learn, forecast, decide, record, act, record again, export.

        Whether the target is still the one planned from is checked by the actuator, right before its write.
        """
        self._tick += 1
        timer = StepTimer(self._clock)
        with timer.step("policy"):
            self._policy.follow()
            policy, mode = self._policy.policy, self._policy.mode
        with timer.step("collect"):
            collected = await self._collection.collect(self._clock.now(), deadline_s=self._collect_deadline_s())
        # One "now" for all that follows, and not before the evidence: an answer that took a second is that old.
        now = self._clock.now()
        with timer.step("observe"):
            snapshots = self._perception.observe(collected.scrapes, policy, now)
            self._foresight.record(snapshots)
        overrides = self._overrides(now)
        thought = think(
            policy,
            snapshots,
            self._state,
            engine_work_of=self._perception.engine_work,
            history_of=self._perception.history,
            foresight=self._foresight,
            now=now,
            timer=timer,
            overrides=overrides,
        )
        snapshots, plan, self._state = thought.snapshots, thought.plan, thought.state
        self.considered = thought.considered
        draft = Draft(
            tick=self._tick,
            at=now,
            policy=policy,
            policy_version=self._policy.version,
            mode=mode,
            snapshots=snapshots,
            plan=plan,
            problems=(*self._policy.problems, *collected.problems),
            standings=self._foresight.standings(now),
            overrides=overrides,
        )
        with timer.step("begin"):
            self._journal.begin(self._complete(draft, pending(plan.decisions), timer), self._state)
        with timer.step("act"):
            refused = refuse_unrecorded(plan.decisions, self._journal.problem)
            outcomes = await act(plan.decisions, refused, self._actuators[mode], deadline_s=self._act_within_s)
            self._state = note_outcomes(self._state, plan, outcomes, snapshots, now=now)
        with timer.step("finish"):
            self._journal.finish(self._complete(draft, outcomes, timer), self._state, self._learned)
        record = self._complete(draft, outcomes, timer)
        for exporter in self._exporters:
            exporter.export(record)
        return record

    async def close(self) -> None:
        """Release connections and the store."""
        self._foresight.close()
        await self._collection.close()
        for actuator in self._actuators.values():
            await actuator.close()
        self._journal.close(self._learned.newest())

    def _collect_deadline_s(self) -> float:
        return min(_COLLECT_AT_MOST_S, _COLLECT_SHARE_OF_INTERVAL * self.interval_s)

    def _complete(self, draft: Draft, outcomes: Sequence[Outcome], timer: StepTimer) -> TickRecord:
        return draft.record(
            outcomes, ledger=self._state.ledger, step_seconds=timer.taken, store_problem=self._journal.problem
        )
