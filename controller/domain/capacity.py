"""What is learned about a deployment's engines. Checkpointed with the planner's state."""

from __future__ import annotations

from dataclasses import dataclass

CAPACITY_MEMORY_VERSION = 1
"""Another number in a checkpoint means that its learned state is not to be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationTime:
    """Seconds of one iteration of continuous batching: base + per sequence, context token and prefill token."""

    base_s: float
    per_sequence_s: float
    per_context_token_s: float
    per_prefill_token_s: float

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """In the order of the fields."""
        return (self.base_s, self.per_sequence_s, self.per_context_token_s, self.per_prefill_token_s)

    def seconds(self, *, sequences: float, context_tokens: float, prefill_tokens: float) -> float:
        """Time of an iteration with so many decoding sequences, tokens of their context, and prefilled tokens."""
        return (
            self.base_s
            + self.per_sequence_s * sequences
            + self.per_context_token_s * context_tokens
            + self.per_prefill_token_s * prefill_tokens
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationEstimate:
    """State of the recursive estimator for one kind of engine.

    ``mean`` is relative to ``prior``; ``precision`` (4 by 4, row by row) is that of ``mean``. ``noise`` is the
    usual relative residual. ``rising`` and ``falling`` are the two sides of a CUSUM over standardised residuals.
    ``most_sequences`` is the largest mean batch taken in.
    """

    key: str
    prior: IterationTime
    mean: tuple[float, ...]
    precision: tuple[float, ...]
    noise: float
    rising: float = 0.0
    falling: float = 0.0
    intervals: int = 0
    drifted_at: float | None = None
    most_sequences: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MixEstimate:
    """Decaying sums over the recent past, of all replicas together; their ratios are the token mix."""

    at: float
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    generation_tokens: float = 0.0
    first_tokens: float = 0.0
    running: float = 0.0
    kv_usage: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyEvidence:
    """How many requests were late, against how many were to be expected, while one kind of mix ran.

    Both begin with the prior's weight and fade. ``intervals`` counts what was taken in.
    """

    bucket: int
    late: float
    expected: float
    intervals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """Requests served of late, and how many of them missed an objective. Decaying sums."""

    at: float
    requests: float = 0.0
    missed: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityMemory:
    """All that is learned about one deployment. ``seen`` tells until when each replica was taken in."""

    version: int = CAPACITY_MEMORY_VERSION
    estimates: tuple[IterationEstimate, ...] = ()
    """Most recently used first."""
    active: tuple[str, ...] = ()
    """Keys of the engines that run now."""
    mix: MixEstimate | None = None
    safety: tuple[SafetyEvidence, ...] = ()
    utilisations: tuple[tuple[float, float], ...] = ()
    """(time, utilisation) of the last minutes, oldest first."""
    seen: tuple[tuple[str, float], ...] = ()
    record: ServiceRecord | None = None
    """How users fared of late."""
    judged_at: float | None = None
    """When outcomes were last taken in."""
