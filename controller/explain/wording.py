"""How numbers, times, readings and signals are written."""

from __future__ import annotations

import datetime as dt

from controller.domain.plan import Reason
from controller.domain.reading import Reading, Unknown
from controller.domain.signals import Signal

SIGNALS: dict[Signal, tuple[str, str]] = {
    Signal.ONGOING_REQUESTS: ("requests in flight", "requests"),
    Signal.REQUESTS: ("arriving requests", "/s"),
    Signal.PREFILL_TOKENS: ("prompt tokens", "tokens/s"),
    Signal.DECODE_TOKENS: ("output tokens", "tokens/s"),
    Signal.WORK: ("work", "full replicas"),
}
"""Name and unit of each signal."""

REASONS: dict[Reason, str] = {
    Reason.DEMAND: "Demand measured now needs this many.",
    Reason.FORECAST: "Demand expected within the lead time needs more than demand now does.",
    Reason.SCHEDULE: "An announced event is on, or begins within the lead time.",
    Reason.IDLE: "Two sources agree that there is no traffic.",
    Reason.NO_DATA: "Demand is unknown, so the target stays.",
    Reason.BLIND_SPOT: "A source is missing or stale, so nothing is lowered until it is back.",
    Reason.STEADY: "The target fits; nothing is to be done.",
    Reason.UPSCALE_DELAY: "More are needed, but not for long enough yet (stabilisation.upscale_delay_s).",
    Reason.DOWNSCALE_DELAY: "Fewer would do, but not for long enough yet (stabilisation.downscale_delay_s).",
    Reason.AT_MIN: "limits.min_replicas holds it up.",
    Reason.AT_MAX: "limits.max_replicas holds it down: demand may exceed what can be carried.",
    Reason.MAX_STEP_UP: "limits.max_step_up allows no more in one tick; the rest follows.",
    Reason.MAX_STEP_DOWN: "limits.max_step_down allows no more in one tick; the rest follows.",
    Reason.BUDGET: "The budget that all deployments share allows no more.",
    Reason.PAUSED: "The policy says to leave this deployment alone (paused).",
    Reason.NOT_DEPLOYED: "Ray Serve does not have this deployment.",
    Reason.IN_FLIGHT: "Requests in flight need the replicas that demand would give up.",
    Reason.DRAIN_WAIT: "Fewer would do; a moment with few streams on those that would stop is waited for.",
    Reason.IDLE_DELAY: "Idle, but not for long enough to go to zero (scale_to_zero.after_idle_s).",
    Reason.COLD_START: "A start from zero would take longer than is promised (scale_to_zero.cold_start_promise_s).",
    Reason.ASLEEP: "At zero, and nobody knocks.",
    Reason.WAKE: "At zero, and somebody knocks, or it cannot be seen whether somebody does.",
    Reason.FROZEN: "Somebody asked to leave the target where it is.",
    Reason.HELD: "Somebody asked to lower nothing for a while.",
    Reason.RAISED_FLOOR: "Somebody asked for more replicas than the policy's least for a while.",
    Reason.NO_PLACE: "Further replicas have no worker to run on yet; they wait for workers and nodes.",
    Reason.NODE_READY: "A node is kept for what is foreseen; a replica on it costs nothing more, and is ready sooner.",
    Reason.UNSETTLED: "Replicas are being updated or stopped; nothing is lowered meanwhile.",
}
"""What each reason means to an operator, and which key of the policy it comes from."""

_MINUTES_FROM_S = 120
_HOURS_FROM_S = 7_200
_DAYS_FROM_S = 172_800


def number(value: float) -> str:
    """Three significant digits, whole above a hundred: ``0.0123``, ``6``, ``1,234``."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - as the docstring says


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it: ``0.4 s``, ``45 s``, ``10 min``, ``3.5 h``, ``2.1 d``."""
    if abs(seconds) < _MINUTES_FROM_S:
        return f"{number(seconds)} s"
    if abs(seconds) < _HOURS_FROM_S:
        return f"{number(seconds / 60)} min"
    if abs(seconds) < _DAYS_FROM_S:
        return f"{number(seconds / 3600)} h"
    return f"{number(seconds / 86_400)} d"


def moment(at: float) -> str:
    """Unix seconds as UTC in ISO 8601, as ``--at`` takes it."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reading(value: Reading, unit: str) -> tuple[str, str]:
    """A reading as value with unit, and its age or why it is unknown."""
    if isinstance(value, Unknown):
        return "unknown", value.reason
    return f"{number(value.value)} {unit}".strip(), f"{duration(round(value.age_s, 1))} old"


def plural(count: int, noun: str) -> str:
    """``1 replica``, ``2 replicas``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
