"""One deployment's last hour as columns of numbers: small in memory, quick to hand to a chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.forecast import Forecast
from controller.domain.plan import Step
from controller.domain.reading import Known, Reading
from controller.domain.record import DeploymentRecord
from controller.domain.signals import Signal
from controller.planner.size import sizing_signals

MEDIAN, HIGH = 0.5, 0.9

COMMON: Final = (
    "ready",
    "starting",
    "stopping",
    "target",
    "wanted",
    "needed",
    "most",
    "ttft",
    "itl",
    "errors",
    "shed",
    "queued",
    "load",
)
"""Replicas as found, the target as found and as wanted, what demand now needs and the policy's most; seconds; rates;
and ``load``, demand now in replicas' worth."""

OF_SIGNAL: Final = ("demand", "p50", "p90", "horizon", "each")
"""Of each signal: its value, the forecast of its maximum within ``horizon`` seconds, what one replica carries."""

_FIRST: Final = {signal: len(COMMON) + index * len(OF_SIGNAL) for index, signal in enumerate(Signal)}
_WIDTH: Final = len(COMMON) + len(Signal) * len(OF_SIGNAL)
_UNKNOWN: Final = math.nan


class Moments:
    """The newest ``size`` ticks of one deployment, oldest first. Unknown is NaN here and None outside."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = np.zeros(0)
        self._rows: NDArray[np.float32] = np.zeros((0, _WIDTH), dtype=np.float32)
        self._begin = self._end = 0
        self.signal = Signal.ONGOING_REQUESTS
        """The signal that asked for most replicas last."""

    def __len__(self) -> int:
        return self._end - self._begin

    def resize(self, size: int) -> None:
        """Keep so many from now on."""
        self._size = size
        self._begin = max(self._begin, self._end - size)

    def add(self, at: float, entry: DeploymentRecord) -> None:
        """Append one tick."""
        if self._end == len(self._at):
            self._make_room()
        self._at[self._end] = at
        self._rows[self._end] = _row(entry)
        self._end += 1
        self._begin = max(self._begin, self._end - self._size)
        self.signal = _leading(entry) or self.signal

    def at(self, *, after: float = -math.inf) -> NDArray[np.float64]:
        """Times later than ``after`` (Unix seconds)."""
        return self._at[self._from(after) : self._end]

    def column(self, name: str, *, after: float = -math.inf) -> NDArray[np.float32]:
        """One of ``COMMON``."""
        return self._rows[self._from(after) : self._end, COMMON.index(name)]

    def of_signal(self, signal: Signal, name: str, *, after: float = -math.inf) -> NDArray[np.float32]:
        """One of ``OF_SIGNAL``."""
        return self._rows[self._from(after) : self._end, _FIRST[signal] + OF_SIGNAL.index(name)]

    def signals(self) -> tuple[Signal, ...]:
        """Signals of which anything is known here."""
        return tuple(signal for signal in Signal if not np.isnan(self.of_signal(signal, "demand")).all())

    def _from(self, after: float) -> int:
        return self._begin + int(np.searchsorted(self._at[self._begin : self._end], after, side="right"))

    def _make_room(self) -> None:
        """Move what is kept to the front of an array with room for as much again, up to twice ``size``."""
        kept = len(self)
        room = min(2 * self._size, max(64, 2 * kept))
        at, rows = np.zeros(room), np.full((room, _WIDTH), _UNKNOWN, dtype=np.float32)
        at[:kept], rows[:kept] = self._at[self._begin : self._end], self._rows[self._begin : self._end]
        self._at, self._rows, self._begin, self._end = at, rows, 0, kept


def sparkline(values: NDArray[np.float32], points: int) -> list[float | None]:
    """The highest of each of ``points`` about equal stretches, fewer where there are fewer values.

    None where nothing is known.
    """
    if not len(values):
        return []
    starts = np.unique(np.linspace(0, len(values), points, endpoint=False).astype(int))
    return [None if math.isnan(value) else value for value in np.fmax.reduceat(values, starts).tolist()]


def plain(values: NDArray[np.floating]) -> list[float | None]:
    """Numbers for JSON, four digits that count; None for unknown."""
    return [None if math.isnan(value) else float(f"{value:.4g}") for value in values.tolist()]


def loads(entry: DeploymentRecord) -> Mapping[Signal, float]:
    """Demand now in replicas' worth, by each signal that the deployment is sized by and that is known."""
    carried = entry.decision.capacity.per_replica
    return {
        signal: reading.value / carried[signal]
        for signal in sizing_signals(entry.snapshot, entry.decision.capacity)
        if isinstance(reading := entry.snapshot.reading(signal), Known)
    }


def _leading(entry: DeploymentRecord) -> Signal | None:
    needs = loads(entry)
    return max(needs, key=lambda signal: needs[signal]) if needs else None


def _row(entry: DeploymentRecord) -> list[float]:
    snapshot, counts = entry.snapshot, entry.snapshot.replicas
    latency = snapshot.latency
    row = [
        *((_UNKNOWN,) * 3 if counts is None else (counts.ready, counts.starting, counts.stopping)),
        _or_unknown(snapshot.target_replicas),
        _or_unknown(entry.decision.desired),
        _or_unknown(reactive(entry.decision.steps)),
        _or_unknown(None if entry.terms is None else entry.terms.max_replicas),
        _value(latency.ttft_p95_s),
        _value(latency.itl_p95_s),
        _value(snapshot.errors_per_s),
        _value(snapshot.shed_per_s),
        _value(snapshot.queued_requests),
        max(loads(entry).values(), default=_UNKNOWN),
    ]
    for signal in Signal:
        row += _of_signal(entry, signal)
    return row


def reactive(steps: Sequence[Step]) -> int | None:
    """Replicas that measured demand needs now, as the first stage found; None where it had no opinion."""
    return next((step.replicas for step in steps if step.stage == "reactive"), None)


def _of_signal(entry: DeploymentRecord, signal: Signal) -> tuple[float, ...]:
    forecast = forecast_of(entry, signal)
    each = entry.decision.capacity.per_replica.get(signal, _UNKNOWN)
    value = _value(entry.snapshot.reading(signal))
    if forecast is None:
        return value, _UNKNOWN, _UNKNOWN, _UNKNOWN, each
    return value, forecast.quantile(MEDIAN), forecast.quantile(HIGH), forecast.horizon_s, each


def forecast_of(entry: DeploymentRecord, signal: Signal) -> Forecast | None:
    """The forecast of one signal, where there is one."""
    return next((one for one in entry.decision.forecasts if one.signal is signal), None)


def _value(reading: Reading) -> float:
    return reading.value if isinstance(reading, Known) else _UNKNOWN


def _or_unknown(value: int | None) -> float:
    return _UNKNOWN if value is None else value
