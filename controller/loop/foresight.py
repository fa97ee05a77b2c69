"""Keeps the forecaster supplied with the long past and with fitted models, a little in every tick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from controller.domain.forecast import Forecast, ForecastStanding
from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.forecast.adaptive import AdaptiveForecaster, TrackKey
from controller.forecast.announced import Announced
from controller.forecast.fitted import FittedModel
from controller.forecast.online import Track
from controller.forecast.past import Past
from controller.loop.fitting import FitRequest, FitResult, fitted
from controller.loop.forecast_guard import ForecastGuard
from controller.planner.capacity.error_budget import MOST_CAREFUL
from controller.policy.model import DeploymentPolicy
from controller.window.history import DemandHistory, HistoryEntry

LONG_STEP_S = 60.0
LONG_BINS = 15 * 1440
"""Fifteen days of minutes: two weeks to learn from, and the day before them."""

_SHOWN_QUANTILES = (0.1, 0.5, 0.9)

_LOOK_EVERY_S = 120.0
_LOOKED_AT_EACH_TICK = 8
"""Signals whose long past is read anew in one tick: bounds the tick, a few milliseconds each."""

_FIRST_FIT_S = 86_400.0
_REFIT_S = 86_400.0
_RETRY_S = 3600.0
_SHOWN_FOR_S = 600.0
"""A horizon that was not asked for so long has no standing to show."""


class HistoryOf(Protocol):
    """Reads one signal's past."""

    def __call__(self, deployment: DeploymentId, signal: Signal, since: float | None = None, /) -> History:
        """Return the finished bins, or at least those from ``since`` on (Unix seconds)."""
        ...


class AnnouncedOf(Protocol):
    """Reads what is announced about one signal."""

    def __call__(self, signal: Signal, /, *, since: float, until: float) -> tuple[Announced, ...]:
        """Return what is on at some time of [since, until) (Unix seconds)."""
        ...


def nothing_announced(signal: Signal, /, *, since: float, until: float) -> tuple[Announced, ...]:  # noqa: ARG001
    """Return nothing: for deployments without events."""
    return ()


class Fitter(Protocol):
    """Fits models beside the loop; see ``FitWorker``."""

    def close(self) -> None:
        """End whatever is under way."""
        ...

    def offer(self, request: FitRequest) -> bool:
        """Start a fit, unless one is under way."""
        ...

    def poll(self) -> FitResult | None:
        """Return what has come of the fit under way."""
        ...


class FitAtOnce:
    """Fits in the calling process: for virtual time, where nobody waits and all must be repeatable."""

    def __init__(self) -> None:
        self._done: FitResult | None = None

    def offer(self, request: FitRequest) -> bool:
        """Fit now; the result waits for ``poll``."""
        if self._done is not None:
            return False
        model = fitted(request)
        self._done = FitResult(request.key, model, None if model is not None else "not enough history")
        return True

    def close(self) -> None:
        """Nothing is under way."""

    def poll(self) -> FitResult | None:
        """Return the fit that was made."""
        done, self._done = self._done, None
        return done


@dataclass(slots=True)
class _Care:
    """When a signal was last looked at; when its model is due, for which probabilities and events it was fitted."""

    looked_at: float = -math.inf
    fit_due: float = -math.inf
    fitted_for: tuple[float, ...] | None = None
    events: tuple[str, ...] | None = None


@dataclass(slots=True)
class Foresight:
    """Owns the long histories, asks the forecaster, and decides what is looked at and fitted in a tick.

    Call ``record`` with every tick's snapshots, ``forecasts`` for each deployment, and ``tend`` after them.
    ``problems`` are the last fits that failed. Nothing here fails a tick.
    """

    forecaster: AdaptiveForecaster
    fitter: Fitter
    guard: ForecastGuard = field(default_factory=ForecastGuard)
    histories: DemandHistory = field(default_factory=lambda: DemandHistory(step_s=LONG_STEP_S, max_bins=LONG_BINS))
    problems: dict[TrackKey, str] = field(default_factory=dict)
    _cares: dict[TrackKey, _Care] = field(default_factory=dict)
    _announced: dict[DeploymentId, tuple[tuple[str, ...], AnnouncedOf]] = field(default_factory=dict)

    def record(self, snapshots: Sequence[Snapshot]) -> None:
        """Take in one tick's demand, and begin its time. Deployments that are gone are forgotten."""
        self.guard.begin()
        kept = {snapshot.id for snapshot in snapshots}
        self.forecaster.forget(kept)
        self._announced = {known: entry for known, entry in self._announced.items() if known in kept}
        for snapshot in snapshots:
            self.histories.record(snapshot)

    def forecasts(
        self,
        deployment: DeploymentPolicy,
        signals: Sequence[Signal],
        *,
        horizon_s: float,
        history_of: HistoryOf,
        now: float,
        announced_of: AnnouncedOf = nothing_announced,
    ) -> tuple[tuple[Forecast, ...], str | None]:
        """Forecast the signals that a deployment is sized by; none, with the reason, when there is none to rely on.

        One signal whose forecast broke its promise switches off the whole deployment's. All are still made
        and scored, so that trust can come back.
        """
        if not deployment.forecast.enabled:
            return (), "switched off by the policy"
        self._announced[deployment.id] = tuple(event.name for event in deployment.events), announced_of
        answers = {
            signal: self._forecast(
                deployment, signal, horizon_s=horizon_s, history_of=history_of, now=now, announced_of=announced_of
            )
            for signal in signals
        }
        reasons = {signal: answer.reason for signal, answer in answers.items() if isinstance(answer, Unknown)}
        broken = [
            signal for signal in reasons if not self.forecaster.believed(deployment.id, signal, horizon_s=horizon_s)
        ]
        made = tuple(answer for answer in answers.values() if isinstance(answer, Forecast))
        if made and not broken:
            return made, None
        return (), "; ".join(f"{signal}: {reasons[signal]}" for signal in broken or reasons)

    def standings(self, now: float) -> dict[DeploymentId, tuple[ForecastStanding, ...]]:
        """Return how the forecasts have done that were asked for lately."""
        found: dict[DeploymentId, tuple[ForecastStanding, ...]] = {}
        tracks = self.forecaster.tracks()
        for key, one in sorted(self.forecaster.standings().items()):
            if now - tracks[key].at <= _SHOWN_FOR_S:
                told = replace(one, fit_problem=self.problems.get(key))
                found[key[0]] = (*found.get(key[0], ()), told)
        return found

    def restore(self, entries: Sequence[HistoryEntry]) -> None:
        """Go on from stored histories; those of other steps are left out."""
        self.histories.restore(entries)

    def go_on(self, tracks: Mapping[TrackKey, Track], fitted: Mapping[TrackKey, FittedModel]) -> None:
        """Go on from what was learned before a restart; a model is fitted again when its day is over."""
        self.forecaster.restore(tracks)
        for key, model in fitted.items():
            self.forecaster.use(key, model)
            self._cares[key] = _Care(fit_due=model.fitted_at + _REFIT_S, fitted_for=model.probabilities)

    def close(self) -> None:
        """End a fit under way."""
        self.fitter.close()

    def tend(self, now: float, *, history_of: HistoryOf | None = None) -> None:
        """Look at the long past of some signals, take over a finished fit, and start the next one.

        ``history_of`` is given where a signal is made of others (work); else the measured one is used.
        """
        source = history_of or self.histories.history
        tracks = self.forecaster.tracks()
        self._cares = {key: self._cares.get(key, _Care()) for key in tracks}
        self._look(source, now)
        self.guard.ask("a finished fit", partial(self._take_over, now))
        self._fit_next(tracks, source, now)

    def _forecast(
        self,
        deployment: DeploymentPolicy,
        signal: Signal,
        *,
        horizon_s: float,
        history_of: HistoryOf,
        now: float,
        announced_of: AnnouncedOf,
    ) -> Forecast | Unknown:
        promised = deployment.forecast.target_quantile

        def make() -> Forecast | Unknown:
            since = self.forecaster.wanted_since(deployment.id, signal, horizon_s=horizon_s)
            history = history_of(deployment.id, signal, since)
            try:
                return self.forecaster.forecast(
                    history,
                    signal,
                    now=now,
                    horizon_s=horizon_s,
                    quantiles=sorted({*_SHOWN_QUANTILES, promised, MOST_CAREFUL}),
                    deployment=deployment.id,
                    promised=promised,
                    announced=announced_of(signal, since=history.start, until=now + 2 * horizon_s),
                )
            except Exception:
                # Whatever it could not cope with, the next tick begins without it.
                self.forecaster.drop(deployment.id, signal)
                raise

        return self.guard.ask(f"{deployment.id} {signal}", make)

    def _look(self, source: HistoryOf, now: float) -> None:
        due = sorted(
            {key[:2]: care for key, care in self._cares.items() if now - care.looked_at >= _LOOK_EVERY_S}.items(),
            key=lambda entry: entry[1].looked_at,
        )
        for (deployment, signal), _ in due[:_LOOKED_AT_EACH_TICK]:
            for key, care in self._cares.items():
                if key[:2] == (deployment, signal):
                    care.looked_at = now
            self.guard.ask(f"{deployment} {signal} long ago", partial(self._remember, deployment, signal, source))

    def _remember(self, deployment: DeploymentId, signal: Signal, source: HistoryOf) -> None:
        history = source(deployment, signal)
        if history.values:
            self.forecaster.remember(deployment, signal, Past.of(history))

    def _take_over(self, now: float) -> None:
        result = self.fitter.poll()
        if result is None or result.key not in self._cares:
            return
        if result.model is None:
            self.problems[result.key] = result.problem or "no model"
            self._cares[result.key].fit_due = now + _RETRY_S
            return
        self.problems.pop(result.key, None)
        self.forecaster.use(result.key, result.model)

    def _fit_next(self, tracks: Mapping[TrackKey, Track], source: HistoryOf, now: float) -> None:
        for key, track in tracks.items():
            care = self._cares[key]
            wanted = tuple(sorted({0.5, track.spec.probabilities[track.spec.place]}))
            events, _ = self._announced.get(key[0], ((), nothing_announced))
            if now < care.fit_due and care.fitted_for == wanted and care.events in (None, events):
                care.events = events
                continue
            before = replace(care)
            care.fit_due, care.fitted_for, care.events = now + _RETRY_S, wanted, events
            offered = self.guard.ask(f"{key[0]} {key[1]} fit", partial(self._offer, key, track, source, wanted))
            if offered is None:
                continue
            if offered is True:
                care.fit_due = now + _REFIT_S
            elif offered is False:
                self._cares[key] = before
            return

    def _offer(self, key: TrackKey, track: Track, source: HistoryOf, wanted: tuple[float, ...]) -> bool | None:
        """Whether the fitter took it; None when there is too little to learn from."""
        history = source(key[0], key[1])
        if len(history.values) * history.step_s < _FIRST_FIT_S:
            return None
        _, announced_of = self._announced.get(key[0], ((), nothing_announced))
        known = announced_of(key[1], since=history.start, until=history.end + track.spec.horizon_s)
        return self.fitter.offer(FitRequest(key, history, track.spec.horizon_s, wanted, announced=known))
