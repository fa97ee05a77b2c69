"""What the live view remembers from tick to tick: the last minutes and the last change."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.identity import DeploymentId
from controller.domain.plan import Action
from controller.domain.reading import Known
from controller.domain.record import DeploymentRecord, TickRecord
from controller.domain.signals import Signal
from controller.planner import size

_MAX_MOMENTS = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One tick in short. ``need`` is demand in replicas' worth; None where unknown."""

    at: float
    need: float | None
    target: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The newest decision that asked for something to be done."""

    at: float
    record: DeploymentRecord


class LiveState:
    """Folds records, oldest first. Records that repeat or go back in time are left out."""

    def __init__(self) -> None:
        self._tick = -1
        self._moments: dict[DeploymentId, deque[Moment]] = {}
        self._changes: dict[DeploymentId, Change] = {}

    def update(self, record: TickRecord) -> None:
        """Take in one tick."""
        if record.tick <= self._tick:
            return
        self._tick = record.tick
        for deployment in record.deployments:
            name = deployment.snapshot.id
            moment = Moment(at=record.at, need=need(deployment), target=deployment.snapshot.target_replicas)
            self._moments.setdefault(name, deque(maxlen=_MAX_MOMENTS)).append(moment)
            if deployment.decision.action is not Action.NONE:
                self._changes[name] = Change(at=record.at, record=deployment)

    def moments(self, deployment: DeploymentId) -> Sequence[Moment]:
        """The last ticks of one deployment, oldest first."""
        return tuple(self._moments.get(deployment, ()))

    def last_change(self, deployment: DeploymentId) -> Change | None:
        """The newest change of one deployment."""
        return self._changes.get(deployment)


def need(deployment: DeploymentRecord) -> float | None:
    """Demand now in replicas' worth: of the signal that needs most; None when no sizing signal is known."""
    carried = deployment.decision.capacity.per_replica
    needs = [
        reading.value / carried[signal]
        for signal in sizing_signals(deployment)
        if isinstance(reading := deployment.snapshot.reading(signal), Known)
    ]
    return max(needs, default=None)


def sizing_signals(deployment: DeploymentRecord) -> tuple[Signal, ...]:
    """The signals this deployment is sized by now, in the catalogue's order."""
    deciding = size.sizing_signals(deployment.snapshot, deployment.decision.capacity)
    return tuple(signal for signal in Signal if signal in deciding)
