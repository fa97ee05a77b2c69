"""Which share of a histogram's events was quick enough, for any threshold."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

VLLM_TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
"""Upper bounds of vLLM's time-to-first-token histogram, seconds (vLLM 0.29)."""

VLLM_ITL_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
"""Upper bounds of vLLM's inter-token-latency histogram, seconds (vLLM 0.29)."""


def weights(threshold: float, bounds: Sequence[float]) -> dict[str, float]:
    """Return by ``le`` what to multiply each cumulative bucket with to count events within ``threshold``.

    Between two bounds events count as spread evenly, as in ``histogram_quantile``. Beyond the last
    finite bound nothing is known to be within the threshold, so only what lies below that bound counts.
    """
    index = bisect.bisect_left(bounds, threshold)
    if index == len(bounds):
        return {_le(bounds[-1]): 1.0}
    upper = bounds[index]
    if upper == threshold:
        return {_le(upper): 1.0}
    lower = bounds[index - 1] if index else 0.0
    share = (threshold - lower) / (upper - lower)
    return {_le(lower): 1 - share, _le(upper): share} if index else {_le(upper): share}


def _le(bound: float) -> str:
    """Write a bound as a pattern: exporters and Prometheus 3 write 1.0, others 1."""
    return f"{bound:g}" if bound % 1 else f"{bound:.0f}([.]0)?"
