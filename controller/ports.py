"""What the loop needs from the outside world. Each protocol is one verb or two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from controller.catalog.metric import Metric
from controller.domain.canary import CanaryRecord
from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep, PoolsFound
from controller.domain.identity import DeploymentId
from controller.domain.lasting import Piece, PieceKey, Tail
from controller.domain.override import Override
from controller.domain.plan import Decision, Outcome
from controller.domain.record import TickRecord
from controller.domain.scrape import Scrape
from controller.domain.serve import ServeState
from controller.domain.signals import Signal
from controller.domain.state import PlannerState


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Wall-clock time in Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going backwards; for durations only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Collector(Protocol):
    """Reads one system. Unreachable endpoints are reported in the result, never raised."""

    async def collect(self, now: float) -> Sequence[Scrape]:
        """One scrape per known endpoint, failed ones included."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Actuator(Protocol):
    """Makes decisions true. Targets are absolute, so applying one twice changes nothing."""

    async def apply(self, decision: Decision) -> Outcome:
        """Act on one decision, if the live target still is the one it was planned from. Never raises."""
        ...

    async def read_state(self) -> ServeState | None:
        """Read the target system's state right now, for the re-check before acting; None if unreachable."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class ClusterObserver(Protocol):
    """Reads the cluster that replicas run on. What cannot be read is reported in the result, never raised."""

    async def observe(self, now: float) -> ClusterFound:
        """Read nodes, worker groups, pools, and news of refusals. Occupants of workers are left to the caller."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class PoolReader(Protocol):
    """Reads the node pools of the cloud that the cluster is in: the part of it that Kubernetes does not tell."""

    async def read(self, now: float) -> PoolsFound:
        """Read all pools and what is under way on them. Never raises."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class LayerActuator(Protocol):
    """Sets the targets of one layer below the replicas. They are absolute, so setting one twice changes nothing."""

    async def apply(self, step: LayerStep, found: ClusterFound) -> LayerOutcome:
        """Set one target with the lever that its owner honours, and read it back. Never raises.

        ``found`` is what the plan was made from; a target that is not as found any more is not overwritten.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Consent(Protocol):
    """Approve mode, for the layers below the replicas."""

    def objection(self, step: LayerStep) -> LayerOutcome | None:
        """Why a step must not be done now: it waits for a word, or somebody said no. None where it was approved."""
        ...

    def done(self, step: LayerStep, outcomes: Sequence[LayerOutcome]) -> tuple[LayerOutcome, ...]:
        """Note what came of a step, one outcome for each lever; return these with the word that they came of."""
        ...


class Leadership(Protocol):
    """Whether this process is the one of several controllers that acts."""

    def may_act(self) -> bool:
        """Whether it leads, and certainly will for as long as a write may take. To be asked before each write.

        Cheap, without I/O. False also while that cannot be known.
        """
        ...

    @property
    def term(self) -> int:
        """Grows with each change of leader; what was decided in another term is not to be done any more."""
        ...

    @property
    def standing(self) -> str:
        """Who leads, and since when, in words."""
        ...


class TakenOver(Protocol):
    """What the leader before left."""

    @property
    def state(self) -> PlannerState:
        """Its planner's state, as of what it did last."""
        ...

    @property
    def words(self) -> Mapping[str, Sequence[bytes]] | None:
        """What people and alerts had said to it, by kind; None where it did not tell."""
        ...


class Words(Protocol):
    """What people and alerts say to whoever leads."""

    def told(self) -> Mapping[str, Sequence[bytes]]:
        """Everything said, by kind."""
        ...

    def heed(self, words: Mapping[str, Sequence[bytes]]) -> None:
        """Go on from what the leader before was told, in place of what this controller remembers."""
        ...


class HandOver(Protocol):
    """Passes the planner's state from one leader to the next. Both methods raise UnavailableError."""

    async def publish(self, state: PlannerState, words: Mapping[str, Sequence[bytes]], *, tick: int) -> None:
        """Leave the state, and what people said, for whoever leads next."""
        ...

    async def take(self) -> TakenOver | None:
        """Read what the last leader left; None where nobody led yet."""
        ...


class Lasting(Protocol):
    """What is to outlive the process beside the planner's state. The store says what it holds, and gets the rest."""

    def tails(self, held_until: Callable[[DeploymentId, Signal], float | None]) -> Sequence[Tail]:
        """Return every recent history: whole, or from the last bin that is held when ``held_until`` names its end."""
        ...

    def pieces(self, held: Mapping[PieceKey, float]) -> Sequence[Piece]:
        """Return a few pieces that are newer than those held, as of the times given; the most overdue first."""
        ...


class StoreError(Exception):
    """The store could not be read or written; the message says which file and why."""


class Overrides(Protocol):
    """What people and alerts ask for."""

    def __call__(self, now: float, /) -> tuple[Override, ...]:
        """Return those in force at a time (Unix seconds). Must not raise."""
        ...


def no_overrides(_now: float, /) -> tuple[Override, ...]:
    """Nobody asks for anything."""
    return ()


class Canaries(Protocol):
    """New builds that are brought into traffic beside the loop."""

    def __call__(self) -> tuple[CanaryRecord, ...]:
        """Return how all of them are. Must not raise."""
        ...


def no_canaries() -> tuple[CanaryRecord, ...]:
    """No new build is tried."""
    return ()


class Shelf(Protocol):
    """Keeps small texts, each under a kind and an id, so that they outlive the process."""

    def put(self, kind: str, name: str, body: bytes) -> None:
        """Write one now, in place of an earlier one of that name. Raises StoreError; then nothing was written."""
        ...

    def drop(self, kind: str, name: str) -> None:
        """Remove one, if it is there. Raises StoreError."""
        ...

    def everything(self, kind: str) -> Sequence[bytes]:
        """Return all of a kind, by name. Raises StoreError."""
        ...


class Store(Protocol):
    """Keeps decision records and the loop's state, atomically together."""

    def begin(self, record: TickRecord, state: PlannerState) -> None:
        """Write a tick's record before anything is done. Raises StoreError."""
        ...

    def finish(self, record: TickRecord, state: PlannerState, lasting: Lasting) -> None:
        """Write the tick's record again with its outcomes, the state, and what is new of ``lasting``.

        Raises StoreError.
        """
        ...

    def keep(self, pieces: Sequence[Piece]) -> None:
        """Write these now. Raises StoreError."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


class Exporter(Protocol):
    """Shows a finished tick to the outside (metrics, log, live state)."""

    def export(self, record: TickRecord) -> None:
        """Publish one record. Must not raise."""
        ...


class Count(Protocol):
    """Counts what happens beside the loop."""

    def __call__(self, metric: Metric, /, *labels: str, by: int = 1) -> None:
        """Count, by the metric's labels in the catalogue's order; by 0 makes the series begin. Must not raise."""
        ...


class LoopEvent(StrEnum):
    """What happens to the loop itself, also when no record comes of it."""

    TICK_FAILED = "tick_failed"
    TICK_SKIPPED = "tick_skipped"
    POLICY_RELOADED = "policy_reloaded"
    POLICY_REJECTED = "policy_rejected"
    STORE_FAILED = "store_failed"
    FORECAST_FAILED = "forecast_failed"
    FORECAST_LATE = "forecast_late"


class LoopObserver(Protocol):
    """Counts what happens to the loop itself."""

    def note(self, event: LoopEvent) -> None:
        """Count one event. Must not raise."""
        ...
