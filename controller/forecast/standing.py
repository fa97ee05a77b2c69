"""How a forecast has done live, for people and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from controller.forecast.online import Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The live record of one signal's promised quantile over about the last six hours.

    ``coverage`` is the share of outcomes at or below it, ``pinball_loss`` and ``bias`` (served minus
    actual) are in the signal's unit, ``horizons`` how many independent horizons there were.
    """

    horizon_s: float
    probability: float
    coverage: float
    pinball_loss: float
    bias: float
    horizons: float
    trusted: bool


def standing(track: Track) -> Standing | None:
    """Read a track's record; None before the first outcome."""
    if not track.score.weight:
        return None
    return Standing(
        horizon_s=track.spec.horizon_s,
        probability=track.spec.probabilities[-1],
        coverage=float(track.score.coverage[-1]),
        pinball_loss=float(track.score.loss[-1]),
        bias=float(track.score.bias[-1]),
        horizons=track.horizons,
        trusted=track.trust.lost_at is None,
    )
