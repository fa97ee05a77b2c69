"""Numbers, times and names as the page writes them."""

from __future__ import annotations

import datetime as dt

from controller.domain.reading import Known, Reading
from controller.domain.signals import Signal
from controller.explain.wording import SIGNALS, duration, number

UNKNOWN = "\N{EN DASH}"
"""Stands where a number is not known, which is not zero."""


_A_SECOND = 0.9995
"""What is less is less than 1000 ms when rounded too."""


def clock(at: float) -> str:
    """Time of day in UTC: ``13:05:42``."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%H:%M:%S")


def iso(at: float) -> str:
    """ISO 8601 in UTC, for machines."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def words(name: str) -> str:
    """``scale_up`` as people write it."""
    return name.replace("_", " ")


def figure(value: float | None) -> str:
    """Three digits that count, or the sign for unknown."""
    return UNKNOWN if value is None else number(value)


def seconds(value: float | None) -> str:
    """A latency: ``42 ms``, ``1.3 s``."""
    if value is None:
        return UNKNOWN
    return f"{number(1000 * value)} ms" if value < _A_SECOND else duration(value)


def value_of(reading: Reading) -> float | None:
    """The number of a reading, or None."""
    return reading.value if isinstance(reading, Known) else None


def unit(signal: Signal) -> str:
    """Unit of one signal."""
    return SIGNALS[signal][1]


def signal_name(signal: Signal) -> str:
    """Name of one signal."""
    return SIGNALS[signal][0]


def path(values: list[float | None], *, top: float, width: int, height: int) -> str:
    """An SVG path through values of 0 to ``top``, left to right; broken where a value is unknown."""
    step = width / max(1, len(values) - 1)
    parts, pen = [], "M"
    for index, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        share = 0.0 if top <= 0 else min(1.0, value / top)
        parts.append(f"{pen}{index * step:.0f} {height - 1 - share * (height - 2):.1f}")
        pen = "L"
    return "".join(parts)
