"""The largest load that one engine carries, in closed form.

With the iteration time t = a + b·n + c·context + d·prefill of continuous batching with chunked prefill (Orca, Yu et
al. 2022; Sarathi-Serve, Agrawal et al. 2024), requests of p prefilled and o generated tokens arriving at rate λ, and
context K read per decoded token, the batch is in balance when (Little's law, each request decoding for o
iterations)::

    n = λ·o·t     and     prefill tokens per iteration = λ·p·t = n·p/o

so the mean iteration time is linear in concurrency and the carried load grows with it::

    t(n) = a + n·s,   s = b + c·K + d·p/o          λ(n) = n / (o·t(n))

A single request's pace varies around t(n): while it decodes, n prompts are prefilled on average, and their number and
sizes vary. Its mean iteration is slower than t(n) + z·d·p·sqrt(n·(1 + cv²)) / o only with the probability that belongs
to z, so answers of few tokens beside long prompts need a margin.

Concurrency is bounded by what the KV cache holds, the engine's seats, its token budget per iteration, the pace promised
to users (that pace within the objective for time per output token), and by the first token: a prompt's own prefill, in
chunks between the others' iterations, must leave time to wait. The largest load is λ(N) at the smallest bound N.

One request then is worth ``work`` = 1/λ(N) = o·(a/N + b + c·K) + d·p engine-seconds: prefill and decode share one
engine, and the base time is shared by a full batch. Utilisation is work per second over engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.domain.capacity import IterationTime
from controller.planner.capacity.mix import TokenMix

SEATS = "max_num_seqs"
"""The bound's name where the engine's own limit of sequences binds."""
KV_FILL = 0.95
"""Share of the KV cache that can be used before admission stops: a whole prompt must fit, and blocks round up."""
WAIT_SHARE = 0.5
"""Share of the first-token objective that must be left to wait, after the prefill itself."""
_PACE_Z = 2.33
"""Normal deviate of the share of requests that may be slower, 1 %."""
_PROMPT_VARIATION = 1.0
"""Squared variation of prompt sizes: that of an exponential."""
_SMALLEST_LOAD = 1e-6
_UNBOUNDED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """Bounds of one engine; None where unknown. ``max_num_batched_tokens`` is per iteration.

    ``believed_sequences`` is no bound of the engine: beyond it the iteration time was not learned.
    """

    kv_cache_tokens: float | None = None
    max_num_seqs: float | None = None
    max_num_batched_tokens: float = 2048.0
    believed_sequences: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FullLoad:
    """An engine at its largest sustainable load.

    ``requests_per_s`` is that load on average; how much of it may be planned for is the safe utilisation's
    matter. ``bound`` names what limits ``concurrency``. ``wait_s`` is the time a request may wait and still get its
    first token within the objective.
    """

    concurrency: float
    iteration_s: float
    requests_per_s: float
    decode_token_s: float
    prefill_token_s: float
    wait_s: float
    bound: str
    mix: TokenMix
    base_s: float
    feasible: bool = True

    @property
    def request_s(self) -> float:
        """Work of one request, engine-seconds."""
        return 1.0 / self.requests_per_s

    def concurrency_at(self, utilisation: float) -> float:
        """Mean requests in the batch while the engine carries this share of its full load.

        From t = a + t·λ·o·s, that is t = a / (1 - λ·o·s): less load, shorter iterations, fewer at once.
        """
        load = utilisation * self.requests_per_s * self.mix.output_tokens
        marginal = (self.iteration_s - self.base_s) / self.concurrency
        return load * self.base_s / max(1.0 - load * marginal, self.base_s / self.iteration_s)


def full_load(time: IterationTime, mix: TokenMix, limits: EngineLimits, *, ttft_s: float, tpot_s: float) -> FullLoad:
    """Solve for the largest load within both objectives and every bound of the engine.

    Where an objective cannot be met even by a request that is alone, the load is that of one request at a time and
    ``feasible`` is false.
    """
    context = mix.context(limits.kv_cache_tokens)
    decode_s = time.per_sequence_s + time.per_context_token_s * context
    own_prefill_s = time.per_prefill_token_s * mix.prefill_tokens
    slope = decode_s + own_prefill_s / mix.output_tokens
    hard = {
        "KV cache": _kv_bound(mix, limits, context),
        SEATS: limits.max_num_seqs or _UNBOUNDED,
        "what was seen so far": max(limits.believed_sequences or _UNBOUNDED, 1.0),
        "max_num_batched_tokens": limits.max_num_batched_tokens / (1.0 + mix.prefill_tokens / mix.output_tokens),
    }
    promised = {
        "time per output token": _pace_bound(tpot_s - time.base_s, slope, own_prefill_s / mix.output_tokens),
        "time to first token": _first_token_bound(time, mix, limits, decode_s, ttft_s),
    }
    bounds = {**hard, **promised}
    bound = min(bounds, key=lambda name: bounds[name])
    # A promise that even a lone request breaks cannot be solved by fewer requests.
    concurrency = min(*hard.values(), max(min(promised.values()), _alone(mix)))
    iteration_s = time.base_s + concurrency * slope
    return FullLoad(
        concurrency=concurrency,
        iteration_s=iteration_s,
        requests_per_s=max(concurrency / (mix.output_tokens * iteration_s), _SMALLEST_LOAD),
        decode_token_s=time.base_s / concurrency + decode_s,
        prefill_token_s=time.per_prefill_token_s,
        wait_s=max(ttft_s - _prefill_s(time, mix, limits, decode_s, concurrency), 0.0),
        bound=bound,
        mix=mix,
        base_s=time.base_s,
        feasible=concurrency <= min(promised.values()),
    )


def _kv_bound(mix: TokenMix, limits: EngineLimits, context: float) -> float:
    """Concurrency at a full KV cache: from the share that a running request was seen to hold, else from tokens."""
    if mix.kv_share is not None:
        return max(KV_FILL / mix.kv_share, 1.0)
    if limits.kv_cache_tokens is not None:
        return max(KV_FILL * limits.kv_cache_tokens / context, 1.0)
    return _UNBOUNDED


def _alone(mix: TokenMix) -> float:
    """Mean concurrency, in the sense of n = λ·o·t, of an engine that serves one request after the other."""
    return mix.output_tokens / (mix.output_tokens + 1.0)


def _chunks(mix: TokenMix, limits: EngineLimits) -> float:
    return max(1.0, mix.prefill_tokens / limits.max_num_batched_tokens)


def _prefill_s(time: IterationTime, mix: TokenMix, limits: EngineLimits, decode_s: float, concurrency: float) -> float:
    """Time of a prompt's own prefill: its chunks, each in an iteration together with the decoding sequences."""
    together = time.base_s + concurrency * decode_s
    return _chunks(mix, limits) * together + time.per_prefill_token_s * mix.prefill_tokens


def _pace_bound(room_s: float, slope: float, prefill_per_token_s: float) -> float:
    """Solve n·slope + z·sqrt(n·(1 + cv²))·(d·p/o) = room for n: a quadratic in sqrt(n)."""
    if room_s <= 0.0:
        return 0.0
    tail = _PACE_Z * math.sqrt(1.0 + _PROMPT_VARIATION) * prefill_per_token_s
    # The root in the form that stays exact where the slope is small.
    root = 2.0 * room_s / (tail + math.sqrt(tail**2 + 4.0 * slope * room_s))
    return min(root**2, _UNBOUNDED)


def _first_token_bound(
    time: IterationTime, mix: TokenMix, limits: EngineLimits, decode_s: float, ttft_s: float
) -> float:
    own_s = time.per_prefill_token_s * mix.prefill_tokens
    for_chunks = ((1.0 - WAIT_SHARE) * ttft_s - own_s) / _chunks(mix, limits)
    return _ratio(for_chunks - time.base_s, decode_s)


def _ratio(room: float, each: float) -> float:
    if room <= 0.0:
        return 0.0
    return min(room / each, _UNBOUNDED) if each > 0.0 else _UNBOUNDED
