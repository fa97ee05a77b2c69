"""Demand = served + queued + shed, put together from the views of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.domain.reading import Known, Reading, Unknown
from controller.domain.signals import Signal
from controller.window.engines import Engines
from controller.window.reach import Rate
from controller.window.view import View, largest


def demand(
    *, door: View, serve: View, engines: Engines, shed: Rate | Unknown, request_s: float | None, idle: bool
) -> Mapping[Signal, Reading]:
    """Return one reading per signal.

    ``request_s`` is how long a request takes now: shed requests would have been in flight for that long
    (Little's law). Clients that retry at once make this more than there are users; limits bound it.
    ``idle`` is knowledge that there is no traffic, so it makes every signal a known zero.
    """
    readings: dict[Signal, Reading] = {
        Signal.ONGOING_REQUESTS: _ongoing((door, serve, engines.view), shed, request_s),
        Signal.REQUESTS: _requests(door.arrivals, serve.arrivals, shed),
        Signal.PREFILL_TOKENS: _reading(engines.prefill),
        Signal.DECODE_TOKENS: _reading(engines.decode),
    }
    if not idle:
        return readings
    age_s = max(view.in_flight.age_s for view in (door, serve, engines.view) if isinstance(view.in_flight, Known))
    return {
        signal: Known(0.0, age_s) if isinstance(reading, Unknown) else reading for signal, reading in readings.items()
    }


def queued(engines: Engines, processing: Known | None, *, idle: bool) -> Reading:
    """Requests that wait: in the engines, or inside the replicas without being run, whichever is more."""
    if isinstance(engines.waiting, Unknown) or isinstance(engines.running, Unknown):
        return Known(0.0) if idle else engines.waiting
    if processing is None:
        return engines.waiting
    held_back = processing.value - engines.running.value
    if held_back <= engines.waiting.value:
        return engines.waiting
    return Known(held_back, max(processing.age_s, engines.running.age_s))


def _ongoing(views: tuple[View, ...], shed: Rate | Unknown, request_s: float | None) -> Reading:
    seen = largest(views)
    if isinstance(seen, Unknown) or isinstance(shed, Unknown) or request_s is None:
        return seen
    return Known(seen.value + shed.per_s * request_s, seen.age_s)


def _requests(door: Rate | Unknown, serve: Rate | Unknown, shed: Rate | Unknown) -> Reading:
    """Arrivals: HAProxy counts shed requests, replicas do not.

    Both count the same requests, each read at its own moments. Where they differ by no more than chance (a
    Poisson count's standard deviation), their mean is nearest: the larger of two noisy counts would be some
    percent too high, always. Where they differ by more, one has missed something, and the larger one counts.
    """
    if isinstance(door, Unknown) and isinstance(serve, Unknown):
        return Unknown(f"HAProxy: {door.reason}; Serve: {serve.reason}")
    if isinstance(serve, Unknown):
        return _reading(door)
    arrived = Rate(serve.per_s + (shed.per_s if isinstance(shed, Rate) else 0.0), serve.seconds, serve.age_s)
    if isinstance(door, Unknown):
        return arrived.reading()
    larger = max(door, arrived, key=lambda rate: rate.per_s)
    if abs(door.per_s - arrived.per_s) > math.sqrt(larger.per_s / larger.seconds):
        return larger.reading()
    return Known((door.per_s + arrived.per_s) / 2.0, max(door.age_s, arrived.age_s))


def _reading(rate: Rate | Unknown) -> Reading:
    return rate.reading() if isinstance(rate, Rate) else rate
