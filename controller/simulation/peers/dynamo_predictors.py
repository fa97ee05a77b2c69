"""What NVIDIA Dynamo's planner predicts the next interval with: its own classes where its wheel is installed.

Without the wheel ``constant`` and ``kalman`` are computed here, from ``planner/core/load/predictors.py`` of ai-dynamo
1.6.1: the last value, and a local linear trend (level and slope, noise 1.0, 0.1 and 10.0) that predicts from the fifth
value on. ``arima`` and ``prophet`` need the wheel and the libraries it fits with.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Protocol

import numpy as np

from controller.errors import BadInputError

OWN = ("constant", "kalman")
WITH_WHEEL = ("constant", "kalman", "arima", "prophet")

_LEVEL_NOISE = 1.0
_SLOPE_NOISE = 0.1
_READING_NOISE = 10.0
_FEWEST = 5
_UNSURE = 1000.0
_PROPHET_WINDOW = 50


class Predictor(Protocol):
    """One series, one step ahead."""

    def add_data_point(self, value: float) -> None:
        """Learn the next value."""
        ...

    def predict_next(self) -> float:
        """Return what is expected after the last value."""
        ...


def predictor(kind: str, interval_s: float) -> Predictor:
    """Make one.

    Raises:
        BadInputError: it needs Dynamo's wheel, which is not installed.

    """
    dynamos = _of_the_wheel(kind, interval_s)
    if dynamos is not None:
        return dynamos
    if kind not in OWN:
        msg = (
            f"dynamo-{kind} needs the wheel of ai-dynamo with pmdarima, prophet and filterpy; here are {', '.join(OWN)}"
        )
        raise BadInputError(msg)
    return LastValue() if kind == "constant" else LocalTrend()


def is_wheel_installed() -> bool:
    """Tell whether Dynamo's own predictors are used."""
    return _of_the_wheel("constant", 1.0) is not None


def _of_the_wheel(kind: str, interval_s: float) -> Predictor | None:
    try:
        from dynamo.planner.core.load.predictors import LOAD_PREDICTORS  # noqa: PLC0415 - optional
    except ImportError:
        return None
    config = SimpleNamespace(
        load_predictor_log1p=False,
        prophet_window_size=_PROPHET_WINDOW,
        throughput_adjustment_interval_seconds=interval_s,
        kalman_q_level=_LEVEL_NOISE,
        kalman_q_trend=_SLOPE_NOISE,
        kalman_r=_READING_NOISE,
        kalman_min_points=_FEWEST,
    )
    made: Predictor = LOAD_PREDICTORS[kind](config)
    return made


class LastValue:
    """Tomorrow is today. Zeros before the first value are no values."""

    def __init__(self) -> None:
        self._last = 0.0

    def add_data_point(self, value: float) -> None:
        """Keep it."""
        self._last = value

    def predict_next(self) -> float:
        """Return the last value."""
        return self._last


class LocalTrend:
    """A Kalman filter on a level and its slope. Zeros before the first value are no values."""

    def __init__(self) -> None:
        self._state = np.zeros(2)
        self._spread = np.eye(2) * _UNSURE
        self._count = 0
        self._last = 0.0
        self._is_ahead = False

    def add_data_point(self, value: float) -> None:
        """Correct the state by a new value."""
        if self._count == 0 and value == 0.0:
            return
        self._count += 1
        self._last = value
        if self._count == 1:
            self._state = np.array([value, 0.0])
            return
        if not self._is_ahead:
            self._step()
        self._is_ahead = False
        gain = self._spread[:, 0] / (self._spread[0, 0] + _READING_NOISE)
        self._state = self._state + gain * (value - self._state[0])
        self._spread = self._spread - np.outer(gain, self._spread[0])

    def predict_next(self) -> float:
        """Return the level one step ahead, at least 0; the last value before the fifth."""
        if self._count < _FEWEST:
            return self._last
        if not self._is_ahead:
            self._step()
            self._is_ahead = True
        return max(0.0, float(self._state[0]))

    def _step(self) -> None:
        forward = np.array([[1.0, 1.0], [0.0, 1.0]])
        self._state = forward @ self._state
        self._spread = forward @ self._spread @ forward.T + np.diag([_LEVEL_NOISE, _SLOPE_NOISE])
