"""How numbers, times, readings and signals are written."""

from __future__ import annotations

import datetime as dt

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
    return f"{number(value.value)} {unit}".strip(), f"{duration(value.age_s)} old"


def plural(count: int, noun: str) -> str:
    """``1 replica``, ``2 replicas``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
