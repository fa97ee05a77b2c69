"""Our forecaster walked through a series as the control loop does it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from controller.forecast.fitting import fit_past
from controller.forecast.online import Spec, Track, advance, looking_back, predict, start
from controller.forecast.past import Past
from controller.forecast.retrospect import Retrospect, look_back_from
from controller.forecast.seasons import season_s
from controller.forecast.target import Target

FloatArray = NDArray[np.float64]

DAY_S = 86_400.0
_LONGEST_DAYS = 15


def walk(values: FloatArray, step_s: float, ahead: int, target: Target, probability: float) -> FloatArray:
    """The served quantile at the end of every bin. A model is fitted daily, a season looked for hourly."""
    spec = Spec(horizon_s=ahead * step_s, step_s=step_s, probabilities=(probability,), target=target)
    whole = Past(step_s, values.size * step_s, values)
    served = np.full(values.size, np.nan)
    hour, day = max(1, round(3600 / step_s)), round(DAY_S / step_s)
    track: Track | None = None
    model = None
    for first in range(0, values.size, hour):
        so_far = Past(step_s, first * step_s, values[max(0, first - _LONGEST_DAYS * day) : first])
        season = season_s(so_far)
        if first // day > (first - hour) // day:
            model = fit_past(so_far, horizon_s=spec.horizon_s, probabilities=(probability,), seed=0, target=target)
        places = np.arange(first, min(first + hour, values.size))
        looks = (
            look_back_from(
                whole, places, horizon_s=spec.horizon_s, probabilities=(probability,), season_s=season, model=model
            )
            if season is not None or model is not None
            else [None] * places.size
        )
        for place, look in zip(places.tolist(), looks, strict=True):
            value = values[place]
            at = (place + 1) * step_s
            known = None if math.isnan(value) else float(value)
            if track is None:
                track = None if known is None else start(spec, at=at, value=known)
                continue
            track = advance(track, at=at, value=known, glance=partial(_glance, look=look))
            if known is not None:
                served[place] = predict(track).served[0]
    return served


def _glance(track: Track, look: Retrospect | None) -> Track:
    return track if look is None else looking_back(track, replace(look, level=track.levels.at(2)))
