"""NVIDIA Dynamo's own load predictors, from its ``ai-dynamo`` wheel, as rivals.

Its planner predicts the mean of the next adjustment interval from those before. Here the interval is the
horizon, and at every bin there is one that ends there: the predictor is run once for each phase, so that it
may answer as often as everybody else. Prophet is fitted anew for every answer, which takes a good part of a
second; it answers at ``SAMPLED`` evenly spaced bins only. ARIMA takes seconds for a step and is stood in for
by AutoARIMA of statsforecast, fitted daily. Only ``predictors.py`` is imported, not the packages around it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SAMPLED = 60

PRESETS: dict[str, dict[str, Any]] = {
    "Dynamo kalman_default_raw": {"family": "kalman"},
    "Dynamo kalman_default_log1p": {"family": "kalman", "log1p": True},
    "Dynamo kalman_reactive_raw": {"family": "kalman", "q_level": 10.0, "q_trend": 1.0, "r": 5.0, "min_points": 3},
    "Dynamo kalman_reactive_log1p": {
        "family": "kalman",
        "log1p": True,
        "q_level": 10.0,
        "q_trend": 1.0,
        "r": 5.0,
        "min_points": 3,
    },
    "Dynamo prophet_w20_raw": {"family": "prophet", "window": 20},
    "Dynamo prophet_w20_log1p": {"family": "prophet", "window": 20, "log1p": True},
    "Dynamo prophet_w50_raw": {"family": "prophet", "window": 50},
    "Dynamo prophet_w50_log1p": {"family": "prophet", "window": 50, "log1p": True},
}
"""The presets of its own offline choice, by name, with their published values, but for constant and arima."""


def installed() -> bool:
    """Whether the wheel and what its predictors import are there."""
    return all(importlib.util.find_spec(name) for name in ("dynamo", "pmdarima", "prophet", "filterpy"))


def points(preset: str, values: FloatArray, ahead: int, step_s: float, origins: NDArray[np.int64]) -> FloatArray:
    """Point predictions at the end of each bin, or of ``origins`` only for Prophet; NaN elsewhere."""
    options = PRESETS[preset]
    intervals = _means(values, ahead)
    found = np.full(values.size, np.nan)
    if options["family"] == "prophet":
        reach = options["window"]
        for origin in origins:
            seen = intervals[origin - ahead * np.arange(reach - 1, -1, -1)] if origin >= ahead * reach else []
            found[origin] = _answer(_predictor(options, ahead * step_s), seen)
        return found
    for phase in range(ahead):
        predictor = _predictor(options, ahead * step_s)
        for place in range(phase, values.size, ahead):
            if np.isfinite(intervals[place]):
                predictor.add_data_point(float(intervals[place]))
                found[place] = predictor.predict_next()
    return found


def _answer(predictor: Any, seen: FloatArray | list[float]) -> float:
    known = [float(value) for value in seen if np.isfinite(value)]
    if not known:
        return float("nan")
    for value in known:
        predictor.add_data_point(value)
    return float(predictor.predict_next())


def _means(values: FloatArray, width: int) -> FloatArray:
    """Mean of the known ones of the ``width`` bins ending with each."""
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    last = np.arange(1, values.size + 1)
    first = np.maximum(0, last - width)
    total, count = sums[last] - sums[first], counts[last] - counts[first]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _predictor(options: dict[str, Any], interval_s: float) -> Any:
    config = types.SimpleNamespace(
        load_predictor_log1p=options.get("log1p", False),
        prophet_window_size=options.get("window", 50),
        throughput_adjustment_interval_seconds=interval_s,
        kalman_q_level=options.get("q_level", 1.0),
        kalman_q_trend=options.get("q_trend", 0.1),
        kalman_r=options.get("r", 10.0),
        kalman_min_points=options.get("min_points", 5),
    )
    return _predictors().LOAD_PREDICTORS[options["family"]](config)


def _predictors() -> Any:
    name = "dynamo.planner.core.load.predictors"
    if name in sys.modules:
        return sys.modules[name]
    root = Path(next(iter(importlib.util.find_spec("dynamo").submodule_search_locations)))  # type: ignore[union-attr]
    for package in ("planner", "planner.core", "planner.core.load", "planner.config"):
        module = types.ModuleType(f"dynamo.{package}")
        module.__path__ = [str(root.joinpath(*package.split(".")))]
        sys.modules[f"dynamo.{package}"] = module
    config = types.ModuleType("dynamo.planner.config.planner_config")
    config.PlannerConfig = object  # type: ignore[attr-defined]
    sys.modules[config.__name__] = config
    runtime = types.ModuleType("dynamo.runtime.logging")
    runtime.configure_dynamo_logging = lambda: None  # type: ignore[attr-defined]
    sys.modules |= {"dynamo.runtime": types.ModuleType("dynamo.runtime"), runtime.__name__: runtime}
    for chatty in ("prophet", "cmdstanpy", name):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return importlib.import_module(name)
