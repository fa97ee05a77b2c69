"""How many replicas demand needs now, and how many it is predicted to need one lead time ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from controller.domain.forecast import Forecast
from controller.domain.plan import Capacity, Reason, Step
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.planner.sustained import beyond_chance

SPARE_SHARE = 0.1
"""Replicas are given up only when the remaining ones keep this share of their capacity free.

Without it a demand that just fits is given up and ordered again with every bit of noise."""

SPARE_SUSTAINED_SHARE = 0.03
"""The same for a load that was averaged, which has less noise left."""

MEDIAN = 0.5

PROVEN_HORIZONS = 3.0
"""A forecast that has seen fewer horizons than this may foresee growth only in proportion."""

_TOLERANCE = 1e-9
"""Floating-point noise of this size adds no replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What demand asks for, in replicas, before any delay or limit.

    ``needed`` is the larger of now and forecast; ``roomy`` the same with some share free, the
    least that a target may be lowered to. ``complete`` is false when a sizing signal is unknown.
    """

    reactive: Step
    forecast: Step
    roomy: int
    complete: bool
    scheduled: Step | None = None

    @property
    def needed(self) -> int:
        """Replicas needed, forecast and announced events included."""
        return self._last.replicas

    @property
    def reason(self) -> Reason:
        """Why ``needed`` is what it is."""
        return self._last.reason

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every stage's step so far."""
        return (self.reactive, self.forecast) if self.scheduled is None else (self.reactive, self.forecast, self._last)

    @property
    def _last(self) -> Step:
        return self.scheduled or self.forecast

    def at_least(self, scheduled: Step) -> Sizing:
        """Return the same with what is announced as a floor."""
        return replace(self, scheduled=scheduled, roomy=max(self.roomy, scheduled.replicas))


@dataclass(frozen=True, slots=True)
class _Need:
    """One signal's need: ``amount`` over ``per_replica``; ``spare`` is kept free when lowering."""

    signal: Signal
    amount: float
    per_replica: float
    spare: float = SPARE_SHARE
    quantile: float = MEDIAN

    def replicas(self, share: float = 1.0) -> int:
        """Replicas that carry the amount using ``share`` of their capacity."""
        return max(0, math.ceil(self.amount / (self.per_replica * share) - _TOLERANCE))

    @property
    def arithmetic(self) -> str:
        return f"{self.amount:.1f} {_words(self.signal)} / {self.per_replica:g} per replica → {self.replicas()}"


def size(
    snapshot: Snapshot,
    capacity: Capacity,
    forecasts: Sequence[Forecast],
    *,
    quantile: float,
    forecast_unavailable: str | None,
    current: int,
    sustained: Mapping[Signal, float] = MappingProxyType({}),
    lasting: bool = False,
    backlog: float = 0.0,
) -> Sizing:
    """Size by work where there is a capacity model and work is known, else by every known signal with a capacity.

    Work counts what all other signals count, each in its own way, so they have no say beside it. Among
    several signals the one that needs most replicas decides.

    ``sustained`` (the signal's mean over some time) must fit the planned load. Where the capacity knows the full load,
    the reading of this moment must fit half of the way from there to the full load: the margin between the two is
    there for noise, so noise is not counted twice. Else as much of it must fit the planned load as is not chance, and
    of requests in flight ``backlog`` does not count.

    What is foreseen may fill the fleet for a moment: its high quantile must fit the full load, its median what a moment
    must fit. ``lasting``: it is taken to last, so its high quantile must fit the planned load.

    With no signal known ``current`` is held: a forecast is not carried beyond what is known. With only
    some known, the result is never below ``current``. The forecast may add to the reactive number and
    never takes from it. No demand needs no replica only while ``snapshot.idle``, else one.
    """
    signals = sizing_signals(snapshot, capacity)
    known = _known(snapshot, signals)
    unknown = [signal for signal in signals if signal not in known]
    if not known:
        detail = "; ".join(_why_unknown(snapshot, signal) for signal in unknown)
        held = Step("reactive", current, Reason.NO_DATA, f"hold {current}: {detail}")
        beyond = Step("forecast", current, Reason.NO_DATA, "a forecast is not carried beyond what is known")
        return Sizing(reactive=held, forecast=beyond, roomy=current, complete=False)
    piled = {Signal.ONGOING_REQUESTS: backlog}
    known, sustained = _less(known, piled), _less(sustained, piled)
    now = _needs_now(known, capacity, sustained)
    steady = {
        signal: amount if signal in capacity.full else max(_steadied(signal, amount, sustained))
        for signal, amount in known.items()
    }
    ahead = _needs_ahead(steady, capacity, forecasts, quantile, lasting=lasting)
    floor = 0 if snapshot.idle else 1
    reactive = _reactive(max(now, key=_decisiveness), floor)
    if backlog > 0.0 and Signal.ONGOING_REQUESTS in known:
        said = f"{reactive.detail}; {backlog:.1f} more wait, beyond what arrivals explain, and do not count"
        reactive = replace(reactive, detail=said)
    if unknown:
        reactive = _not_below(current, reactive, [_why_unknown(snapshot, signal) for signal in unknown])
    spared = max(need.replicas(1 - need.spare) for need in (*now, *ahead))
    return Sizing(
        reactive=reactive,
        forecast=_forecast(reactive, ahead, forecasts, forecast_unavailable),
        roomy=max(spared, reactive.replicas),
        complete=not unknown,
    )


def sizing_signals(snapshot: Snapshot, capacity: Capacity) -> tuple[Signal, ...]:
    """Signals that decide now: work alone where it is known and has a capacity, else all that have one."""
    if Signal.WORK in capacity.per_replica and isinstance(snapshot.reading(Signal.WORK), Known):
        return (Signal.WORK,)
    return tuple(capacity.per_replica)


def _needs_now(known: Mapping[Signal, float], capacity: Capacity, sustained: Mapping[Signal, float]) -> list[_Need]:
    """What lasts must fit the planned load; what is there for a moment, half of the way from it to full load."""
    needs = []
    for signal, amount in known.items():
        planned, full = capacity.per_replica[signal], capacity.full.get(signal)
        if full is None:
            needs += [_Need(signal, load, planned) for load in _steadied(signal, amount, sustained)]
            continue
        spare = SPARE_SUSTAINED_SHARE
        needs.append(_Need(signal, sustained.get(signal, amount), planned, spare))
        needs.append(_Need(signal, amount, (planned + full) / 2, spare))
    return needs


def _less(amounts: Mapping[Signal, float], piled: Mapping[Signal, float]) -> Mapping[Signal, float]:
    return {signal: max(0.0, amount - piled.get(signal, 0.0)) for signal, amount in amounts.items()}


def _steadied(signal: Signal, amount: float, sustained: Mapping[Signal, float]) -> tuple[float, ...]:
    """The mean, and what this moment's reading proves beyond it: a step shows at once, noise for the most part not."""
    mean = sustained.get(signal)
    return (amount,) if mean is None else (mean, beyond_chance(amount, mean))


def _needs_ahead(
    known: Mapping[Signal, float], capacity: Capacity, forecasts: Sequence[Forecast], quantile: float, *, lasting: bool
) -> list[_Need]:
    """Where the full load is known, a high quantile must fit it, and the median what a moment must fit now.

    Both are of a maximum, noise included: a quiet future needs no more than the present.
    """
    needs = []
    for forecast in forecasts:
        if forecast.signal not in known:
            continue
        now, planned = known[forecast.signal], capacity.per_replica[forecast.signal]
        full = capacity.full.get(forecast.signal)
        high = _believed(forecast, quantile, now)
        if full is None or lasting:
            spare = SPARE_SHARE if full is None else SPARE_SUSTAINED_SHARE
            needs.append(_Need(forecast.signal, high, planned, spare, quantile))
            continue
        usual = _believed(forecast, MEDIAN, now)
        spare = SPARE_SUSTAINED_SHARE
        needs.append(_Need(forecast.signal, high, full, spare, quantile))
        needs.append(_Need(forecast.signal, usual, (planned + full) / 2, spare, MEDIAN))
    return needs


def _believed(forecast: Forecast, quantile: float, now: float) -> float:
    """The quantile, but from a short history no more growth than in proportion to its length.

    The first minutes of any service look like steep growth.
    """
    seen = forecast.history_s / (PROVEN_HORIZONS * forecast.horizon_s)
    foreseen = forecast.quantile(quantile)
    return foreseen if seen >= 1.0 else min(foreseen, now * (1.0 + seen))


def _known(snapshot: Snapshot, signals: Sequence[Signal]) -> Mapping[Signal, float]:
    readings = {signal: snapshot.reading(signal) for signal in signals}
    return {signal: reading.value for signal, reading in readings.items() if isinstance(reading, Known)}


def _reactive(need: _Need, floor: int) -> Step:
    replicas = need.replicas()
    if replicas == 0 and floor == 0:
        return Step("reactive", 0, Reason.IDLE, "idle: two sources agree that there is no traffic")
    if replicas < floor:
        return Step("reactive", floor, Reason.DEMAND, f"{need.arithmetic}; kept at {floor} while not known to be idle")
    return Step("reactive", replicas, Reason.DEMAND, need.arithmetic)


def _not_below(current: int, step: Step, unknown: Sequence[str]) -> Step:
    detail = "; ".join((step.detail, *unknown))
    if step.replicas > current:
        return Step("reactive", step.replicas, step.reason, detail)
    return Step("reactive", current, Reason.NO_DATA, f"not below {current}: {detail}")


def _forecast(
    reactive: Step,
    ahead: Sequence[_Need],
    forecasts: Sequence[Forecast],
    unavailable: str | None,
) -> Step:
    if not ahead:
        return Step("forecast", reactive.replicas, reactive.reason, f"none: {unavailable or 'none was made'}")
    need = max(ahead, key=_decisiveness)
    horizon_s = next(forecast.horizon_s for forecast in forecasts if forecast.signal is need.signal)
    detail = f"p{need.quantile * 100:.3g} of the maximum over {horizon_s:.0f} s: {need.arithmetic}"
    if need.replicas() > reactive.replicas:
        return Step("forecast", need.replicas(), Reason.FORECAST, detail)
    return Step("forecast", reactive.replicas, reactive.reason, detail)


def _decisiveness(need: _Need) -> tuple[int, float]:
    return need.replicas(), need.amount / need.per_replica


def _why_unknown(snapshot: Snapshot, signal: Signal) -> str:
    reading = snapshot.reading(signal)
    reason = reading.reason if isinstance(reading, Unknown) else "not observed"
    return f"{_words(signal)} unknown ({reason})"


def _words(signal: Signal) -> str:
    return signal.value.replace("_per_s", "/s").replace("_", " ")
