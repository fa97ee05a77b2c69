"""The forecaster of the control loop: follows every signal, and answers at the horizon asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from controller.domain.forecast import Forecast, ForecastStanding
from controller.domain.identity import DeploymentId
from controller.domain.reading import Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import History
from controller.forecast.announced import Announced
from controller.forecast.fitted import FittedModel
from controller.forecast.following import Memory, Wanted, follow, horizon_of, unfit, wanted_since
from controller.forecast.online import Track, leading, predict
from controller.forecast.past import Past
from controller.forecast.standing import standing

_COARSE_S = 60.0
_MOST_HORIZONS = 4
"""Tracks kept of one signal. The one that was followed longest ago goes first."""

Key = tuple[DeploymentId, Signal]
TrackKey = tuple[DeploymentId, Signal, float]
"""A signal at a horizon (seconds, one of ``HORIZONS_S``)."""


class AdaptiveForecaster:
    """Candidates are combined by their pinball loss at the horizon, and corrected by what came of it.

    What was learned is a frozen ``Track`` for each signal and horizon, carried from call to call and exchanged
    for another one when the quantiles or the distance of measurements change.
    """

    def __init__(self) -> None:
        self._tracks: dict[TrackKey, Track] = {}
        self._memories: dict[Key, Memory] = {}
        self._models: dict[TrackKey, FittedModel] = {}

    def forecast(
        self,
        history: History,
        signal: Signal,
        *,
        now: float,
        horizon_s: float,
        quantiles: Sequence[float],
        deployment: DeploymentId | None = None,
        promised: float | None = None,
        announced: Sequence[Announced] = (),
    ) -> Forecast | Unknown:
        """Quantiles of the maximum of ``signal`` over the next longer of ``HORIZONS_S``.

        ``quantiles`` are probabilities in (0, 1); trust depends on the ``promised`` one of them, the highest when None.
        With ``deployment`` what was learned before is used; without it the history alone. ``announced`` is what is
        known beforehand, from the history's beginning to the end of the horizon.

        Unknown with less than 60 s (or six measurements) known, when the newest is older than 30 s (or two
        measurements), when less than half of the last horizon is known, or when trust is lost. A track whose
        following failed is dropped, so that the next call begins anew.
        """
        wanted = Wanted(horizon_s=horizon_s, probabilities=tuple(sorted(set(quantiles))), promised=promised)
        key = None if deployment is None else (deployment, signal, horizon_of(horizon_s))
        known = None if key is None else self._tracks.pop(key, None)
        track = follow(known, history, wanted, replace(self._memory(key, history), announced=tuple(announced)))
        if track is None:
            return Unknown("no demand known yet")
        if key is not None:
            self._tracks[key] = track
            if known is None:
                self._drop_surplus(key[:2])
        if problem := unfit(track, history, now=now, horizon_s=horizon_s):
            return Unknown(problem)
        return _forecast(track, signal, now)

    def wanted_since(self, deployment: DeploymentId, signal: Signal, *, horizon_s: float) -> float | None:
        """Return from when on the next call needs the history (Unix seconds); None when it needs all of it."""
        track = self._tracks.get((deployment, signal, horizon_of(horizon_s)))
        return None if track is None else wanted_since(track, horizon_s)

    def believed(self, deployment: DeploymentId, signal: Signal, *, horizon_s: float) -> bool:
        """Whether a signal's forecast has kept its promise, or none was made yet."""
        track = self._tracks.get((deployment, signal, horizon_of(horizon_s)))
        return track is None or track.trust.lost_at is None

    def remember(self, deployment: DeploymentId, signal: Signal, past: Past) -> None:
        """Use a longer and coarser past; call about once a minute, a part of the signals in each tick."""
        memory = self._memories.get((deployment, signal), Memory())
        self._memories[deployment, signal] = memory.remembering(past)

    def use(self, key: TrackKey, model: FittedModel) -> None:
        """Use a fitted model from now on."""
        self._models[key] = model

    def models(self) -> Mapping[TrackKey, FittedModel]:
        """Return the fitted models in use."""
        return dict(self._models)

    def track(self, key: TrackKey) -> Track | None:
        """Return what was learned of one signal at one horizon."""
        return self._tracks.get(key)

    def tracks(self) -> Mapping[TrackKey, Track]:
        """Return what was learned, to be checkpointed."""
        return dict(self._tracks)

    def restore(self, tracks: Mapping[TrackKey, Track]) -> None:
        """Go on from a checkpoint."""
        self._tracks.update(tracks)

    def drop(self, deployment: DeploymentId, signal: Signal) -> None:
        """Forget all about one signal, so that it is met anew."""
        self._memories.pop((deployment, signal), None)
        self._tracks = {key: track for key, track in self._tracks.items() if key[:2] != (deployment, signal)}
        self._models = {key: model for key, model in self._models.items() if key[:2] != (deployment, signal)}

    def forget(self, kept: Collection[DeploymentId]) -> None:
        """Drop all deployments but those that are still planned."""
        self._tracks = {key: track for key, track in self._tracks.items() if key[0] in kept}
        self._models = {key: model for key, model in self._models.items() if key[0] in kept}
        self._memories = {key: memory for key, memory in self._memories.items() if key[0] in kept}

    def standings(self) -> Mapping[TrackKey, ForecastStanding]:
        """Return each signal's live record at each horizon that is followed."""
        found = {key: standing(key[1], track, self._models.get(key)) for key, track in self._tracks.items()}
        return {key: one for key, one in found.items() if one is not None}

    def _memory(self, key: TrackKey | None, history: History) -> Memory:
        found = Memory() if key is None else self._memories.get(key[:2], Memory())
        if found.past is None and history.step_s >= _COARSE_S:
            found = found.remembering(Past.of(history))
        return found if key is None else replace(found, model=self._models.get(key))

    def _drop_surplus(self, key: Key) -> None:
        of_signal = [one for one in self._tracks if one[:2] == key]
        if len(of_signal) > _MOST_HORIZONS:
            del self._tracks[min(of_signal, key=lambda one: self._tracks[one].at)]


def _forecast(track: Track, signal: Signal, now: float) -> Forecast:
    prediction = predict(track)
    return Forecast(
        signal=signal,
        at=now,
        horizon_s=track.spec.horizon_s,
        quantiles=tuple(zip(track.spec.probabilities, prediction.served.tolist(), strict=True)),
        method=leading(prediction),
        history_s=track.known_s,
    )
