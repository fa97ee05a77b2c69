"""Numbers and names as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.domain.plan import Decision
from controller.domain.reading import Known, Reading
from controller.domain.signals import Signal

SIGNAL_NAMES = {
    Signal.ONGOING_REQUESTS: "requests in flight",
    Signal.REQUESTS: "requests/s",
    Signal.PREFILL_TOKENS: "prompt tokens/s",
    Signal.DECODE_TOKENS: "output tokens/s",
    Signal.WORK: "work, full replicas",
}
_OLD_S = 10.0
_HUNDRED = 100.0
_MINUTE_S = 60.0


def number(value: float) -> str:
    """Three digits or so: ``0.42``, ``14.2``, ``1,204``."""
    if abs(value) >= _HUNDRED:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


def reading(value: Reading) -> str:
    """A reading, with its age when it is not fresh; or that it is unknown."""
    if not isinstance(value, Known):
        return "unknown"
    old = f" ({value.age_s:.0f} s old)" if value.age_s > _OLD_S else ""
    return number(value.value) + old


def duration(seconds: float) -> str:
    """Seconds for people: ``320 ms``, ``12 s``, ``3 min 20 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.1f} s" if seconds < _OLD_S else f"{seconds:.0f} s"
    return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:.0f} s"


def clock_time(at: float) -> str:
    """Time of day here."""
    return datetime.fromtimestamp(at, tz=UTC).astimezone().strftime("%H:%M:%S")


def why(decision: Decision) -> str:
    """The binding reason and its arithmetic: ``forecast: 15.1 within 30 s; one replica carries 8``."""
    reason = decision.binding.value.replace("_", " ")
    steps = [step for step in decision.steps if step.reason is decision.binding and step.detail]
    return f"{reason}: {steps[0].detail}" if steps else reason
