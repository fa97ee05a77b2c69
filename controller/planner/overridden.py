"""What people and alerts ask for, between what demand needs and what the limits allow."""

from __future__ import annotations

from collections.abc import Sequence

from controller.domain.identity import DeploymentId
from controller.domain.override import Override, OverrideAction
from controller.domain.plan import Reason, Step
from controller.policy.model import Limits

STAGE = "override"


def covering(overrides: Sequence[Override], deployment: DeploymentId, now: float) -> tuple[Override, ...]:
    """Return those in force for a deployment, oldest first. A freeze that a later resume lifts is left out."""
    on = [one for one in overrides if one.covers(deployment) and one.began_at <= now < one.until]
    resumed = max((one.began_at for one in on if one.action is OverrideAction.RESUME), default=None)
    kept = [one for one in on if one.action is not OverrideAction.FREEZE or resumed is None or one.began_at > resumed]
    return tuple(sorted(kept, key=lambda one: (one.began_at, one.id)))


def reactive_only(overrides: Sequence[Override]) -> str | None:
    """Say why the forecast is not to be used, or None when it is."""
    asked = _of(overrides, OverrideAction.REACTIVE)
    return f"not used, as asked for: {_told(asked[-1])}" if asked else None


def overridden(wanted: Step, overrides: Sequence[Override], *, current: int, base: int, limits: Limits) -> Step | None:
    """Return the step after what is asked for, None where nothing is.

    A freeze holds ``current``, the live target, whatever else is asked. Otherwise the highest raised floor counts,
    at most ``limits.max_replicas``, and a hold keeps ``base``, the number planned from, from being lowered. The
    limits come after this.
    """
    if not overrides:
        return None
    if frozen := _of(overrides, OverrideAction.FREEZE):
        detail = f"frozen at {current}; would otherwise be {wanted.replicas}; {_told(frozen[-1])}"
        return Step(STAGE, current, Reason.FROZEN, detail)
    held = _of(overrides, OverrideAction.HOLD_SCALE_DOWN)
    floored = _floored(wanted, _of(overrides, OverrideAction.RAISE_FLOOR), limits)
    if held and floored.replicas < base:
        detail = f"hold {base} although {floored.replicas} would do; {_told(held[-1])}"
        return Step(STAGE, base, Reason.HELD, detail)
    if floored.replicas > wanted.replicas:
        return floored
    told = "; ".join(f"{_words(one.action)} ({_told(one)})" for one in overrides)
    return Step(STAGE, wanted.replicas, wanted.reason, f"{wanted.replicas} is in keeping with: {told}")


def _floored(wanted: Step, raised: Sequence[Override], limits: Limits) -> Step:
    if not raised:
        return wanted
    highest = max(raised, key=lambda one: (one.replicas, one.until))
    asked = limits.min_replicas + highest.replicas
    floor = min(limits.max_replicas, asked)
    if floor <= wanted.replicas:
        return wanted
    capped = f" (of {asked}; {limits.max_replicas} is the most)" if asked > floor else ""
    detail = f"at least {limits.min_replicas} + {highest.replicas} → {floor}{capped}; {_told(highest)}"
    return Step(STAGE, floor, Reason.RAISED_FLOOR, detail)


def _of(overrides: Sequence[Override], action: OverrideAction) -> list[Override]:
    return [one for one in overrides if one.action is action]


def _told(one: Override) -> str:
    return f"{one.id} by {one.owner}: {one.reason}"


def _words(action: OverrideAction) -> str:
    return action.value.replace("_", " ")
