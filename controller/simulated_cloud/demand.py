"""From a recorded trace to requests in flight: the shape of the traffic, without its requests."""

from __future__ import annotations

import numpy as np

from controller.load.trace import Trace
from controller.simulated_cloud.signals import REQUEST_S, Load

_BINS = 96


def load_of(trace: Trace, *, speed: float, scale: float) -> Load:
    """Return the requests in flight, by seconds of the cloud's clock since the beginning; the trace goes round.

    ``speed`` seconds of the trace pass in each second, and its requests come ``scale`` times. Each takes ``REQUEST_S``:
    requests in flight are their rate by this time (Little's law). The rate is counted in equal parts of the trace, and
    drawn in straight lines between their middles.
    """
    width = trace.length_s / _BINS
    counts, _ = np.histogram(trace.t_s, bins=np.arange(_BINS + 1) * width)
    in_flight = counts / width * speed * scale * REQUEST_S
    middles = (np.arange(_BINS) + 0.5) * width

    def load(at: float) -> float:
        return float(np.interp((at * speed) % trace.length_s, middles, in_flight, period=trace.length_s))

    return load
