"""The control loop: one tick, top to bottom."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from structlog.typing import FilteringBoundLogger

from controller.domain.cluster import LayerOutcome
from controller.domain.plan import Outcome
from controller.domain.record import TickRecord
from controller.domain.state import PlannerState
from controller.loop.acting import Standby, act, nobody_else, pending, refuse_unrecorded
from controller.loop.cluster import ClusterParts, PlannedCluster, planned
from controller.loop.cluster_watch import ClusterWatch
from controller.loop.collection import Collection
from controller.loop.foresight import Foresight
from controller.loop.ground import grounded
from controller.loop.journal import Journal
from controller.loop.leading import Succession
from controller.loop.learned import Learned
from controller.loop.perception import Perception
from controller.loop.policy_source import PolicyInForce
from controller.loop.recording import Draft
from controller.loop.step_timer import StepTimer
from controller.loop.thinking import Considered, think
from controller.planner.decide import Plan, note_outcomes
from controller.planner.ownership import unclaimed
from controller.policy.model import Mode
from controller.ports import (
    Actuator,
    Canaries,
    Clock,
    Consent,
    Exporter,
    HandOver,
    Leadership,
    LoopEvent,
    LoopObserver,
    Overrides,
    Words,
    no_canaries,
    no_overrides,
)

_COLLECT_SHARE_OF_INTERVAL = 0.8
_COLLECT_AT_MOST_S = 5.0
_NO_CLUSTER = ClusterParts()


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
        canaries: Canaries = no_canaries,
        cluster: ClusterParts = _NO_CLUSTER,
        leadership: Leadership | None = None,
        hand_over: HandOver | None = None,
        words: Words | None = None,
        consent: Consent | None = None,
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
        self._canaries = canaries
        self._cluster = cluster
        self._watch = ClusterWatch(observer=cluster.observer, clock=clock)
        self._succession = Succession(leadership, hand_over, words)
        self._consent = consent
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
            term, self._state = await self._succession.begin(self._state)
        with timer.step("collect"):
            deadline_s = self._collect_deadline_s()
            collected, found = await asyncio.gather(
                self._collection.collect(self._clock.now(), deadline_s=deadline_s),
                self._watch.look(wanted=policy.cluster is not None, deadline_s=deadline_s),
            )
        # One "now" for all that follows, and not before the evidence: an answer that took a second is that old.
        now = self._clock.now()
        with timer.step("observe"):
            snapshots = self._perception.observe(collected.scrapes, policy, now)
            self._foresight.record(snapshots)
            serve = self._perception.serve_state(now)
            ground, supply = grounded(policy, found, serve, snapshots, self._state.supply, now=now)
        overrides = self._overrides(now)
        before = term.remembered(replace(self._state, supply=supply))
        thought = think(
            policy,
            snapshots,
            unclaimed(before) if mode is Mode.GUIDED else before,
            engine_work_of=self._perception.engine_work,
            history_of=self._perception.history,
            foresight=self._foresight,
            now=now,
            timer=timer,
            overrides=overrides,
            ground=ground,
        )
        snapshots, plan, self._state = thought.snapshots, thought.plan, thought.state
        self.considered = thought.considered
        cluster: PlannedCluster | None = None
        if ground is not None:
            with timer.step("place"):
                cluster, plan, self._state = await planned(
                    ground,
                    thought,
                    before,
                    self._cluster.levers,
                    mode=mode,
                    interval_s=self.interval_s,
                    clock=self._clock,
                    now=now,
                )
        draft = Draft(
            tick=self._tick,
            at=now,
            policy=policy,
            policy_version=self._policy.version,
            mode=mode,
            snapshots=snapshots,
            plan=plan,
            problems=(*self._policy.problems, *collected.problems, *_troubles(cluster)),
            standings=self._foresight.standings(now),
            overrides=overrides,
            leading=term.told(),
            canaries=self._canaries(),
        )
        standby = nobody_else if mode is Mode.ADVISORY else term.standby
        with timer.step("begin"):
            expected = self._expected(cluster, mode, standby, self._journal.problem)
            draft = self._with_cluster(draft, cluster, expected)
            self._journal.begin(self._complete(draft, pending(plan.decisions), timer), self._state)
            # The next leader is told, whatever became of the record.
            left = await self._succession.leave(term, self._state, tick=self._tick)
            problem = self._journal.problem or left
        with timer.step("act"):
            outcomes, layers = await self._act(plan, cluster, mode, standby, problem)
            self._state = note_outcomes(self._state, plan, outcomes, snapshots, now=now)
            if cluster is not None:
                self._state = cluster.noted(self._state, layers, now=now)
            draft = self._with_cluster(draft, cluster, layers)
        with timer.step("finish"):
            left = await self._succession.leave(term, self._state, tick=self._tick)
            draft = replace(draft, problems=(*draft.problems, *((left,) if left else ())))
            self._journal.finish(self._complete(draft, outcomes, timer), self._state, self._learned)
        record = self._complete(draft, outcomes, timer)
        for exporter in self._exporters:
            exporter.export(record)
        return record

    async def _act(
        self, plan: Plan, cluster: PlannedCluster | None, mode: Mode, standby: Standby, problem: str | None
    ) -> tuple[tuple[Outcome, ...], tuple[LayerOutcome, ...]]:
        """Set replicas, and beside them nodes and workers: first what adds any, then what removes any.

        What removes does not wait for replicas, whose targets take seconds to be read back: a plan takes nothing
        away that holds one, and warm capacity that workers take over should not ask for nodes meanwhile.
        """
        within_s = self._act_within_s
        refused = refuse_unrecorded(plan.decisions, problem)
        acting = act(plan.decisions, refused, self._actuators[mode], deadline_s=within_s, standby=standby)
        if cluster is None:
            return await acting, ()
        refusal, found = cluster.refusal(mode, standby, problem, self._consent), cluster.found
        outcomes, layers = await asyncio.gather(acting, cluster.acts.set_in_turn(found, refusal, deadline_s=within_s))
        if mode is Mode.APPROVE and self._consent is not None:
            layers = cluster.consented(layers, self._consent)
        return outcomes, layers

    def _expected(
        self, cluster: PlannedCluster | None, mode: Mode, standby: Standby, problem: str | None
    ) -> tuple[LayerOutcome, ...]:
        if cluster is None:
            return ()
        return cluster.acts.pending(cluster.refusal(mode, standby, problem, self._consent))

    def _with_cluster(self, draft: Draft, cluster: PlannedCluster | None, outcomes: Sequence[LayerOutcome]) -> Draft:
        if cluster is None:
            return draft
        told = cluster.record(self._state, outcomes, now=draft.at, before=draft.cluster)
        return replace(draft, cluster=told)

    async def close(self) -> None:
        """Release connections and the store."""
        self._foresight.close()
        await self._collection.close()
        await self._watch.close()
        await self._cluster.close()
        for actuator in self._actuators.values():
            await actuator.close()
        self._journal.close(self._learned.newest())

    def _collect_deadline_s(self) -> float:
        return min(_COLLECT_AT_MOST_S, _COLLECT_SHARE_OF_INTERVAL * self.interval_s)

    def _complete(self, draft: Draft, outcomes: Sequence[Outcome], timer: StepTimer) -> TickRecord:
        return draft.record(
            outcomes, ledger=self._state.ledger, step_seconds=timer.taken, store_problem=self._journal.problem
        )


def _troubles(cluster: PlannedCluster | None) -> tuple[str, ...]:
    """What of the cluster keeps the controller from doing all that it could."""
    if cluster is None:
        return ()
    unseen = cluster.ground.unseen or cluster.plan.held
    held = () if unseen is None else (f"nodes and workers are left as they are: {unseen}",)
    return (*held, *(problem for problem in cluster.ground.problems if problem != unseen))
