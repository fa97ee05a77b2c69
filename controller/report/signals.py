"""Demand against forecast, signal by signal."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from controller.domain.forecast import Forecast
from controller.domain.reading import Known, Reading
from controller.domain.record import DeploymentRecord
from controller.domain.signals import Signal
from controller.report.model import Numbers, SignalSeries

_MEDIAN, _HIGH = 0.5, 0.9


def signal_series(at: Sequence[float], rows: Sequence[DeploymentRecord], signal: Signal) -> SignalSeries:
    """One signal over the ticks at ``at``; ``rows`` are one deployment's records of these ticks."""
    demand = [value(row.snapshot.reading(signal)) for row in rows]
    forecasts = [_forecast(row, signal) for row in rows]
    due = _due(at, forecasts)
    due_p90 = _quantiles(due, _HIGH)
    peak = tuple(None if forecast is None else _highest(at, demand, forecast) for forecast in due)
    verdicts = [top <= high for top, high in zip(peak, due_p90, strict=True) if top is not None and high is not None]
    each = next((carries for row in reversed(rows) if (carries := _per_replica(row, signal)) is not None), None)
    return SignalSeries(
        signal=signal,
        per_replica=each,
        method=next((forecast.method for forecast in reversed(forecasts) if forecast is not None), ""),
        demand=tuple(demand),
        horizon_s=tuple(None if forecast is None else forecast.horizon_s for forecast in forecasts),
        p50=_quantiles(forecasts, _MEDIAN),
        p90=_quantiles(forecasts, _HIGH),
        due_p50=_quantiles(due, _MEDIAN),
        due_p90=due_p90,
        peak=peak,
        carried=tuple(_carried(row, signal) for row in rows),
        held=sum(verdicts),
        judged=len(verdicts),
    )


def value(reading: Reading) -> float | None:
    """The number of a reading, or None."""
    return reading.value if isinstance(reading, Known) else None


def _forecast(row: DeploymentRecord, signal: Signal) -> Forecast | None:
    return next((forecast for forecast in row.decision.forecasts if forecast.signal is signal), None)


def _due(at: Sequence[float], forecasts: Sequence[Forecast | None]) -> list[Forecast | None]:
    """For each tick the newest forecast whose time was up since the tick before."""
    due: list[Forecast | None] = [None] * len(at)
    for made_at, forecast in zip(at, forecasts, strict=True):
        if forecast is not None:
            tick = bisect_left(at, made_at + forecast.horizon_s)
            if tick < len(at):
                due[tick] = forecast
    return due


def _highest(at: Sequence[float], demand: Sequence[float | None], forecast: Forecast) -> float | None:
    """Highest demand of the time it was for; None when any of that is unknown, for it may have been higher."""
    span = demand[bisect_left(at, forecast.at) : bisect_right(at, forecast.at + forecast.horizon_s)]
    known = [one for one in span if one is not None]
    return max(known) if known and len(known) == len(span) else None


def _quantiles(forecasts: Sequence[Forecast | None], probability: float) -> Numbers:
    return tuple(None if forecast is None else forecast.quantile(probability) for forecast in forecasts)


def _per_replica(row: DeploymentRecord, signal: Signal) -> float | None:
    return row.decision.capacity.per_replica.get(signal)


def _carried(row: DeploymentRecord, signal: Signal) -> float | None:
    each, counts = _per_replica(row, signal), row.snapshot.replicas
    return None if each is None or counts is None else each * counts.ready
