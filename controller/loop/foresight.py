"""Keeps the forecaster supplied with the long past and with fitted models, a little in every tick."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.domain.identity import DeploymentId
from controller.domain.signals import Signal
from controller.domain.snapshot import History, Snapshot
from controller.forecast.adaptive import AdaptiveForecaster
from controller.forecast.fitting import fit
from controller.forecast.online import Track
from controller.forecast.past import Past
from controller.loop.fitting import FitRequest, FitResult, Key
from controller.window.history import DemandHistory, HistoryEntry

LONG_STEP_S = 60.0
LONG_BINS = 15 * 1440
"""Fifteen days of minutes: two weeks to learn from, and the day before them."""

_LOOK_EVERY_S = 120.0
_LOOKED_AT_EACH_TICK = 8
"""Signals whose long past is read anew in one tick: bounds the tick, about ten milliseconds each."""

_FIRST_FIT_S = 86_400.0
_REFIT_S = 86_400.0
_RETRY_S = 3600.0

LongHistoryOf = Callable[[DeploymentId, Signal], History]


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
        model = fit(
            request.history, horizon_s=request.horizon_s, probabilities=request.probabilities, seed=request.seed
        )
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
    """When a signal was last looked at and fitted, and what its model was fitted for."""

    looked_at: float = -math.inf
    fit_due: float = -math.inf
    fitted_for: tuple[float, tuple[float, ...]] | None = None


@dataclass(slots=True)
class Foresight:
    """Owns the long histories and decides what is looked at and fitted in a tick.

    Call ``record`` with every tick's snapshots, and ``tend`` once a tick after the forecasts were made.
    ``problems`` are the last fits that failed, by signal.
    """

    forecaster: AdaptiveForecaster
    fitter: Fitter
    histories: DemandHistory = field(default_factory=lambda: DemandHistory(step_s=LONG_STEP_S, max_bins=LONG_BINS))
    problems: dict[Key, str] = field(default_factory=dict)
    _cares: dict[Key, _Care] = field(default_factory=dict)

    def record(self, snapshots: Sequence[Snapshot]) -> None:
        """Take in one tick's demand; what was learned about deployments that are gone is dropped."""
        self.forecaster.forget({snapshot.id for snapshot in snapshots})
        for snapshot in snapshots:
            self.histories.record(snapshot)

    def restore(self, entries: Sequence[HistoryEntry]) -> None:
        """Go on from stored histories; those of other steps are left out."""
        self.histories.restore(entries)

    def close(self) -> None:
        """End a fit under way."""
        self.fitter.close()

    def tend(self, now: float, *, history_of: LongHistoryOf | None = None) -> None:
        """Look at the long past of some signals, take over a finished fit, and start the next one.

        ``history_of`` is given where a signal is made of others (work); else the measured one is used.
        """
        tracks = self.forecaster.tracks()
        self._cares = {key: self._cares.get(key, _Care()) for key in tracks}
        source = history_of or self.histories.history
        due = sorted(
            (key for key, care in self._cares.items() if now - care.looked_at >= _LOOK_EVERY_S),
            key=lambda key: self._cares[key].looked_at,
        )
        for key in due[:_LOOKED_AT_EACH_TICK]:
            self._cares[key].looked_at = now
            history = source(*key)
            if history.values:
                self.forecaster.remember(*key, Past.of(history))
        self._take_over(now)
        self._fit_next(tracks, source, now)

    def _take_over(self, now: float) -> None:
        result = self.fitter.poll()
        if result is None or result.key not in self._cares:
            return
        if result.model is None:
            self.problems[result.key] = result.problem or "no model"
            self._cares[result.key].fit_due = now + _RETRY_S
            return
        self.problems.pop(result.key, None)
        self.forecaster.use(*result.key, result.model)

    def _fit_next(self, tracks: Mapping[Key, Track], source: LongHistoryOf, now: float) -> None:
        for key, track in tracks.items():
            care = self._cares[key]
            wanted = (track.spec.horizon_s, tuple(sorted({0.5, track.spec.probabilities[-1]})))
            if now < care.fit_due and care.fitted_for == wanted:
                continue
            history = source(*key)
            if len(history.values) * history.step_s < _FIRST_FIT_S:
                care.fit_due, care.fitted_for = now + _RETRY_S, wanted
                continue
            if self.fitter.offer(FitRequest(key, history, *wanted)):
                care.fit_due, care.fitted_for = now + _REFIT_S, wanted
            return
