"""From one situation to the next: what to tell. A pure fold, so that telling twice gives the same events."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from controller.domain.event import Event, Gravity, Phase, Topic
from controller.domain.record import TickRecord
from controller.webhooks.budgets import Spending, counted
from controller.webhooks.conditions import Condition, Situation, situation


@dataclass(frozen=True, slots=True)
class Turning:
    """A condition that begins or ends once it has lasted since ``since`` (Unix seconds)."""

    condition: Condition
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told so far: ``on`` are the conditions that began, by key; ``turning`` those that may turn."""

    tick: int = 0
    at: float = 0.0
    on: Mapping[str, Condition] = field(default_factory=dict)
    turning: Mapping[str, Turning] = field(default_factory=dict)
    spent: Mapping[str, Spending] = field(default_factory=dict)
    """Events of objectives that were counted, by objective."""
    running: bool = False
    """Whether the controller was last told to be up."""


def news(told: Told, record: TickRecord) -> tuple[tuple[Event, ...], Told]:
    """Return what a record has to tell after what was told, and what is told with it.

    A record that is not newer than ``told`` has nothing to tell. Ticks begin anew with a new store.
    """
    if record.tick <= told.tick and record.at <= told.at:
        return (), told
    spent = counted(told.spent, record)
    seen = situation(record, spent)
    turned = dict(_turned(told, seen, record.at))
    events = [_event(one, Phase.HAPPENED, record.at, f"{record.tick}") for one in seen.happened]
    on = dict(told.on)
    for key, condition in turned.items():
        if key in on:
            del on[key]
            events.append(_event(_over(condition), Phase.ENDED, record.at, f"{record.tick}"))
        else:
            on[key] = condition
            events.append(_event(condition, Phase.BEGAN, record.at, f"{record.tick}"))
    turning = {key: turn for key, turn in _turning(told, seen, record.at) if key not in turned}
    return tuple(events), replace(told, tick=record.tick, at=record.at, on=on, turning=turning, spent=spent)


def started(told: Told, *, now: float, version: str) -> tuple[tuple[Event, ...], Told]:
    """Tell that the controller is up."""
    up = Condition(
        key=Topic.CONTROLLER_UP.value,
        topic=Topic.CONTROLLER_UP,
        gravity=Gravity.INFO,
        summary=f"the controller has started (version {version})",
        facts={"version": version, "after_a_stop": not told.running},
    )
    events = [_event(up, Phase.HAPPENED, now, "up")]
    down = told.on.get(Topic.CONTROLLER_DOWN.value)
    if down is not None:
        events.insert(0, _event(_over(down), Phase.ENDED, now, "up"))
    on = {key: one for key, one in told.on.items() if key != Topic.CONTROLLER_DOWN.value}
    return tuple(events), replace(told, on=on, running=True)


def stopped(told: Told, *, now: float) -> tuple[tuple[Event, ...], Told]:
    """Tell that the controller was stopped in order."""
    down = Condition(
        key=Topic.CONTROLLER_DOWN.value,
        topic=Topic.CONTROLLER_DOWN,
        gravity=Gravity.WARNING,
        summary="the controller was stopped: targets stay where they are",
    )
    on = {**told.on, down.key: down}
    return (_event(down, Phase.BEGAN, now, "down"),), replace(told, on=on, running=False)


def _turning(told: Told, seen: Situation, at: float) -> Iterator[tuple[str, Turning]]:
    """What differs from what was told, and since when. What is unknown goes on as it was."""
    now = {one.key: one for one in seen.conditions}
    for key in {*now, *told.on} - {Topic.CONTROLLER_DOWN.value}:
        if key in seen.unknown:
            if key in told.turning:
                yield key, told.turning[key]
        elif (key in now) != (key in told.on):
            condition = now.get(key) or told.on[key]
            before = told.turning.get(key)
            yield key, Turning(condition, at if before is None else before.since)


def _turned(told: Told, seen: Situation, at: float) -> Iterator[tuple[str, Condition]]:
    for key, turn in sorted(_turning(told, seen, at), key=lambda one: one[0]):
        if key not in seen.unknown and at - turn.since >= turn.condition.hold_s:
            yield key, turn.condition


def _over(condition: Condition) -> Condition:
    return replace(condition, gravity=Gravity.INFO, summary=f"over: {condition.summary}")


def _event(condition: Condition, phase: Phase, at: float, tick: str) -> Event:
    identity = f"{at!r}|{tick}|{condition.key}|{phase.value}"
    return Event(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        topic=condition.topic,
        phase=phase,
        at=at,
        key=condition.key,
        gravity=condition.gravity,
        summary=condition.summary,
        deployment=condition.deployment,
        facts=condition.facts,
    )
