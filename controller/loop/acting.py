"""From decisions to outcomes: refuse what must not be done unrecorded, apply the rest in parallel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from controller.domain.identity import DeploymentId
from controller.domain.plan import Action, Decision, Outcome, OutcomeStatus
from controller.ports import Actuator

Standby = Callable[[], str | None]
"""Why this controller must not act, if it must not."""


def nobody_else() -> str | None:
    """There is no other controller."""
    return None


def refuse_unrecorded(decisions: Sequence[Decision], problem: str | None) -> dict[DeploymentId, str]:
    """Refuse what lowers a target while records cannot be stored (``problem`` says why); raising one goes on."""
    if problem is None:
        return {}
    return {decision.id: problem for decision in decisions if _lowers(decision)}


def pending(decisions: Sequence[Decision]) -> tuple[Outcome, ...]:
    """Return what is recorded before acting."""
    return tuple(
        _settled(decision, None) or Outcome(id=decision.id, status=OutcomeStatus.PENDING) for decision in decisions
    )


async def act(
    decisions: Sequence[Decision],
    refused: Mapping[DeploymentId, str],
    actuator: Actuator,
    *,
    deadline_s: float,
    standby: Standby = nobody_else,
) -> tuple[Outcome, ...]:
    """Apply everything that is not refused, in parallel; one outcome for each decision, in their order.

    ``standby`` is asked right before each write.
    """
    applied = (_act(decision, refused.get(decision.id), actuator, deadline_s, standby) for decision in decisions)
    return tuple(await asyncio.gather(*applied))


async def _act(
    decision: Decision, refusal: str | None, actuator: Actuator, deadline_s: float, standby: Standby
) -> Outcome:
    if settled := _settled(decision, refusal):
        return settled
    if why := standby():
        return Outcome(id=decision.id, status=OutcomeStatus.STANDBY, detail=why)
    try:
        return await asyncio.wait_for(actuator.apply(decision), deadline_s)
    except TimeoutError:
        detail = f"no result within {deadline_s:g} s; whether it took effect shows at the next tick"
        return Outcome(id=decision.id, status=OutcomeStatus.FAILED, detail=detail, duration_s=deadline_s)


def _settled(decision: Decision, refusal: str | None) -> Outcome | None:
    if decision.action is Action.NONE:
        return Outcome(id=decision.id, status=OutcomeStatus.NOTHING_TO_DO)
    if refusal is not None:
        return Outcome(id=decision.id, status=OutcomeStatus.REFUSED, detail=refusal)
    return None


def _lowers(decision: Decision) -> bool:
    return decision.desired is not None and (decision.current is None or decision.desired < decision.current)
