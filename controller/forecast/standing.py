"""How a forecast has done live, for people and metrics."""

from __future__ import annotations

from controller.domain.forecast import ForecastStanding
from controller.domain.signals import Signal
from controller.forecast.fitted import FittedModel
from controller.forecast.online import Track, leading, predict


def standing(signal: Signal, track: Track, model: FittedModel | None) -> ForecastStanding | None:
    """Read a track's record; None before the first outcome."""
    if not track.score.weight:
        return None
    place = track.spec.place
    said = track.waiting[-1].prediction if track.waiting else predict(track)
    return ForecastStanding(
        signal=signal,
        horizon_s=track.spec.horizon_s,
        probability=track.spec.probabilities[place],
        coverage=float(track.score.coverage[place]),
        pinball_loss=float(track.score.loss[place]),
        bias=float(track.score.bias[place]),
        horizons=track.horizons,
        trusted=track.trust.lost_at is None,
        method=leading(said),
        fitted_at=None if model is None else model.fitted_at,
    )
