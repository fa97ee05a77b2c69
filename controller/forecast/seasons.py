"""Finds the periods after which a signal repeats itself. None is assumed."""

from __future__ import annotations

import numpy as np

from controller.forecast.arrays import FloatArray
from controller.forecast.past import Past

_RESOLUTION_S = 600.0
_SHORTEST_S = 3600.0
_LONGEST_S = 8 * 86_400.0
_CLEAR = 0.25
"""Least autocorrelation that makes a season."""

_NEARLY = 0.85
"""A shorter period is preferred when it repeats nearly as well as the best: a day over a week."""

_OVERLAP = 0.2
"""Least share of a period that must have been seen twice."""


def season_s(past: Past) -> float | None:
    """Shortest period, in seconds, after which the signal clearly repeats; None when there is none."""
    width = max(1, round(_RESOLUTION_S / past.step_s))
    places = np.arange(past.size - 1, -1, -width)[::-1]
    correlation = _autocorrelation(past.means(places, width))
    step_s = width * past.step_s
    shortest = max(2, round(_SHORTEST_S / step_s))
    longest = min(int(correlation.size / (1 + _OVERLAP)), round(_LONGEST_S / step_s))
    if longest <= shortest:
        return None
    peaks = [lag for lag in range(shortest, longest) if _is_peak(correlation, lag) and correlation[lag] > _CLEAR]
    if not peaks:
        return None
    best = max(correlation[lag] for lag in peaks)
    return float(next(lag for lag in peaks if correlation[lag] >= _NEARLY * best)) * step_s


def _is_peak(correlation: FloatArray, lag: int) -> bool:
    around = correlation[max(1, lag - 6) : lag + 7]
    return bool(correlation[lag] >= around.max())


def _autocorrelation(values: FloatArray) -> FloatArray:
    """Correlation of the signal with itself at every lag, over the part that overlaps."""
    known = np.isfinite(values)
    if known.sum() < 4:  # noqa: PLR2004 - nothing repeats in three values
        return np.zeros(0)
    centred = np.where(known, values - values[known].mean(), 0.0)
    size = 2 ** int(np.ceil(np.log2(2 * values.size)))
    products = _correlate(centred, centred, size)[: values.size]
    power = _correlate(centred**2, known.astype(np.float64), size)[: values.size]
    backward = _correlate(known.astype(np.float64), centred**2, size)[: values.size]
    norm = np.sqrt(np.maximum(power * backward, 0.0))
    correlation: FloatArray = np.where(norm > 1e-9 * max(norm[0], 1e-300), products / np.maximum(norm, 1e-300), 0.0)
    return correlation


def _correlate(left: FloatArray, right: FloatArray, size: int) -> FloatArray:
    """Sum over t of left[t] * right[t + lag]."""
    spectrum = np.conj(np.fft.rfft(left, size)) * np.fft.rfft(right, size)
    result: FloatArray = np.fft.irfft(spectrum, size)
    return result
