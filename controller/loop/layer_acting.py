"""Sets nodes and workers: each lever by itself, so that one that fails or hangs keeps no other from its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.domain.cluster import ClusterFound, LayerOutcome, LayerStep
from controller.domain.layer import Layer
from controller.domain.plan import OutcomeStatus
from controller.ports import LayerActuator

_NODES_AHEAD_S = 2.0

Levers = Mapping[Layer, Sequence[LayerActuator]]
"""What moves each layer below the replicas; every lever of a layer gets each of its steps."""

Refusal = Callable[[LayerStep], LayerOutcome | None]
"""What keeps a step from being done, if anything does; asked again right before it."""


@dataclass(frozen=True, slots=True)
class LayerActs:
    """The steps that are set here (replicas are not), those that add before those that remove."""

    steps: tuple[LayerStep, ...]
    levers: Levers

    def pending(self, refusal: Refusal) -> tuple[LayerOutcome, ...]:
        """What is recorded before acting."""
        return tuple(refusal(step) or _settled(step, self.levers) or _pending(step) for step in self.steps)

    async def set_in_turn(
        self, found: ClusterFound, refusal: Refusal, *, deadline_s: float
    ) -> tuple[LayerOutcome, ...]:
        """Set all that adds, nodes before workers, then all that removes. One outcome for each step and lever.

        Workers take over nodes that were kept warm until now. Made before these are given up, both would ask for
        nodes, and a cluster autoscaler that looks just then would order too many. A node that hangs is not waited for.
        """

        def begin(*, up: bool, layers: Collection[Layer]) -> list[asyncio.Future[LayerOutcome]]:
            chosen = (step for step in self.steps if step.up is up and step.layer in layers)
            return [outcome for step in chosen for outcome in self._set(step, found, refusal, deadline_s)]

        nodes = begin(up=True, layers={Layer.NODE})
        if nodes:
            await asyncio.wait(nodes, timeout=min(_NODES_AHEAD_S, deadline_s))
        workers = begin(up=True, layers=set(Layer) - {Layer.NODE})
        added = await asyncio.gather(*nodes, *workers)
        return (*added, *await asyncio.gather(*begin(up=False, layers=set(Layer))))

    def _set(
        self, step: LayerStep, found: ClusterFound, refusal: Refusal, deadline_s: float
    ) -> Iterable[asyncio.Future[LayerOutcome]]:
        levers = self.levers.get(step.layer, ())
        if not levers:
            yield asyncio.ensure_future(_told(_pending_or_settled(step, refusal, self.levers)))
        for lever in levers:
            yield asyncio.ensure_future(_applied(lever, step, found, refusal, deadline_s))


def confirmed(steps: Iterable[LayerStep], outcomes: Sequence[LayerOutcome]) -> frozenset[tuple[Layer, str]]:
    """Steps that count as ordered: some lever was moved, or all stand already as they should.

    A target that was set before a restart, or by the controller before this one, is an order too.
    """
    found: dict[tuple[Layer, str], list[OutcomeStatus]] = {(step.layer, step.name): [] for step in steps}
    for outcome in outcomes:
        if (outcome.layer, outcome.name) in found:
            found[outcome.layer, outcome.name].append(outcome.status)
    return frozenset(
        key
        for key, statuses in found.items()
        if OutcomeStatus.APPLIED in statuses
        or (statuses and all(status is OutcomeStatus.NOTHING_TO_DO for status in statuses))
    )


async def _applied(
    lever: LayerActuator, step: LayerStep, found: ClusterFound, refusal: Refusal, deadline_s: float
) -> LayerOutcome:
    if refused := refusal(step):
        return refused
    try:
        return await asyncio.wait_for(lever.apply(step, found), deadline_s)
    except TimeoutError:
        detail = f"no result within {deadline_s:g} s; whether it took effect shows at the next tick"
        return LayerOutcome(
            layer=step.layer, name=step.name, status=OutcomeStatus.FAILED, detail=detail, duration_s=deadline_s
        )


def _pending_or_settled(step: LayerStep, refusal: Refusal, levers: Levers) -> LayerOutcome:
    return refusal(step) or _settled(step, levers) or _pending(step)


async def _told(outcome: LayerOutcome) -> LayerOutcome:
    return outcome


def _settled(step: LayerStep, levers: Levers) -> LayerOutcome | None:
    if levers.get(step.layer):
        return None
    detail = f"nothing here sets a {step.layer.value}'s target"
    return LayerOutcome(layer=step.layer, name=step.name, status=OutcomeStatus.REFUSED, detail=detail)


def _pending(step: LayerStep) -> LayerOutcome:
    return LayerOutcome(layer=step.layer, name=step.name, status=OutcomeStatus.PENDING)
