"""From an engine's counters to the mean batch and the mean time of its iterations.

Every iteration takes t = a + b·(decoding sequences) + c·(their context tokens) + d·(prefill tokens). Summed over an
interval this is linear in sums that counters know exactly::

    busy seconds = a·iterations + b·decoded tokens + c·context tokens read + d·prefilled tokens

so no distribution within the interval matters. Two of the sums are not counted and are put together here. Busy
seconds: an engine with few requests is idle between them. Where the requests in an engine are Poisson (as in
any queue without much waiting), tokens per iteration are the mean of a Poisson that is not zero,
n = N / (1 - e^-N), which gives N and the share of time without any request, e^-N. Context: each decoded token
reads its sequence's context, known from the KV cache in use or else from the mix.

Inter-token latency is the iteration time as decoding sequences meet it, but vLLM's buckets are too wide for a
fit (10, 25, 50, 75, 100 ms), and its sum is rebuilt from their middles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.domain.engine import EngineInterval

WARM_UP_S = 60.0
"""Seconds after readiness that are left out: compilation, cold caches."""
MOST_IDLE = 0.1
"""With a larger share of idle time, its estimate would decide the result."""
_FEWEST_ITERATIONS = 50.0
_SHORTEST_S = 5.0
_MOST_PREEMPTED = 0.05
"""Preempted requests prefill again, which no counter shows."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Means over the iterations of one interval: time in seconds, and what was in the batch.

    ``idle`` is the estimated share of idle time: the time is doubtful by as much.
    """

    seconds: float
    sequences: float
    context_tokens: float
    prefill_tokens: float
    idle: float = 0.0

    @property
    def row(self) -> tuple[float, float, float, float]:
        """Regressors, in the order of the iteration time's coefficients."""
        return (1.0, self.sequences, self.context_tokens, self.prefill_tokens)


def batches(interval: EngineInterval, *, usual_context: float, kv_cache_tokens: float | None) -> Batches | str:
    """Return the mean batch, or why the interval teaches nothing.

    ``usual_context`` per sequence is used where the KV cache's own use does not tell it.
    """
    problem = _unfit(interval)
    if problem is not None:
        return problem
    per_iteration = interval.generation_tokens / interval.iterations
    idle = idle_share(per_iteration)
    if idle > MOST_IDLE:
        return f"idle for {idle:.0%} of the time"
    decoding = max(0.0, interval.generation_tokens - interval.first_tokens) / interval.iterations
    return Batches(
        seconds=interval.seconds * (1.0 - idle) / interval.iterations,
        sequences=decoding,
        context_tokens=decoding * _context(interval, usual_context, kv_cache_tokens),
        prefill_tokens=max(0.0, interval.prompt_tokens - interval.cached_tokens) / interval.iterations,
        idle=idle,
    )


def idle_share(tokens_per_iteration: float) -> float:
    """Share of time without a request, given the mean batch of the rest: e^-N with n = N / (1 - e^-N)."""
    if tokens_per_iteration <= 1.0:
        return 1.0
    present = tokens_per_iteration
    for _ in range(60):
        present = tokens_per_iteration * -math.expm1(-present)
    return math.exp(-present)


def _context(interval: EngineInterval, usual: float, kv_cache_tokens: float | None) -> float:
    if kv_cache_tokens is None or not interval.kv_usage or not interval.running:
        return usual
    return interval.kv_usage * kv_cache_tokens / interval.running


def _unfit(interval: EngineInterval) -> str | None:
    if interval.ready_s is not None and interval.ready_s - interval.seconds < WARM_UP_S:
        return "warming up"
    if interval.seconds < _SHORTEST_S or interval.iterations < _FEWEST_ITERATIONS:
        return "too few iterations"
    if interval.running == 0.0:
        return "idle when looked at"
    if interval.preemptions > _MOST_PREEMPTED * max(interval.first_tokens, 1.0):
        return "requests were preempted"
    return None
