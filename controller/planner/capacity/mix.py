"""The token mix: what a request asks for on average, over the last minutes and all replicas together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.capacity import MixEstimate
from controller.domain.engine import EngineInterval

MEMORY_REQUESTS = 600.0
"""Requests over which the past fades to 37 %: their mean is known to a few percent, and a mix that turns heavier is
seen while what waits for it can still be ordered."""
_SHORTEST_S, _LONGEST_S = 60.0, 300.0
"""Bounds of the time that so many requests take."""
_ENOUGH_REQUESTS = 20.0
_LEAST_KV_USAGE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMix:
    """Means per request. ``kv_share`` is the share of one replica's KV cache that a running request holds."""

    prompt_tokens: float
    output_tokens: float
    cached_share: float = 0.0
    context_tokens: float | None = None
    kv_share: float | None = None

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens that the prefix cache does not spare."""
        return self.prompt_tokens * (1.0 - self.cached_share)

    def context(self, kv_cache_tokens: float | None) -> float:
        """Mean context that a decoded token reads: E[o (p + o/2)] / E[o] over requests.

        Long answers weigh more and may come with long prompts, so the KV cache in use tells it best. Without
        that, answers are taken as exponential and independent of prompts, which gives p + o.
        """
        if self.context_tokens is not None:
            return self.context_tokens
        if self.kv_share is not None and kv_cache_tokens is not None:
            return max(self.kv_share * kv_cache_tokens, 1.0)
        return self.prompt_tokens + self.output_tokens


def with_intervals(mix: MixEstimate | None, intervals: Sequence[EngineInterval], *, at: float) -> MixEstimate:
    """Let the past fade and add what the engines did in the last interval."""
    base = mix or MixEstimate(at=at)
    elapsed_s, requests = max(0.0, at - base.at), sum(one.first_tokens for one in intervals)
    kept = math.exp(-min(max(requests / MEMORY_REQUESTS, elapsed_s / _LONGEST_S), elapsed_s / _SHORTEST_S))
    gauged = [one for one in intervals if one.running is not None and one.kv_usage is not None]
    return MixEstimate(
        at=at,
        prompt_tokens=kept * base.prompt_tokens + sum(one.prompt_tokens for one in intervals),
        cached_tokens=kept * base.cached_tokens + sum(one.cached_tokens for one in intervals),
        generation_tokens=kept * base.generation_tokens + sum(one.generation_tokens for one in intervals),
        first_tokens=kept * base.first_tokens + requests,
        running=kept * base.running + sum(one.running or 0.0 for one in gauged),
        kv_usage=kept * base.kv_usage + sum(one.kv_usage or 0.0 for one in gauged),
    )


def token_mix(estimate: MixEstimate | None) -> TokenMix | None:
    """Return the mix, or None while too few requests were seen."""
    if estimate is None or estimate.first_tokens < _ENOUGH_REQUESTS or estimate.prompt_tokens <= 0.0:
        return None
    gauged = estimate.running > 0.0 and estimate.kv_usage > _LEAST_KV_USAGE
    return TokenMix(
        prompt_tokens=max(estimate.prompt_tokens / estimate.first_tokens, 1.0),
        output_tokens=max(estimate.generation_tokens / estimate.first_tokens, 1.0),
        cached_share=min(max(estimate.cached_tokens / estimate.prompt_tokens, 0.0), 1.0),
        kv_share=min(estimate.kv_usage / estimate.running, 1.0) if gauged else None,
    )
