"""What one engine did over an interval, and how its users fared: the raw material of a learned capacity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInterval:
    """One replica's counters' increases over ``seconds`` ending at ``until``.

    ``prompt_tokens`` include ``cached_tokens``, which the prefix cache spared. ``first_tokens`` are requests
    whose prefill ended. ``running`` and ``kv_usage`` (0 to 1) are means of the gauges' samples within the
    interval, None where there were none. ``ready_s`` is how long the replica had served at ``until``, None
    where its readiness was not watched. ``accelerator`` is empty where unknown.
    """

    replica_id: str
    until: float
    seconds: float
    iterations: float
    prompt_tokens: float
    generation_tokens: float
    first_tokens: float
    cached_tokens: float = 0.0
    preemptions: float = 0.0
    running: float | None = None
    kv_usage: float | None = None
    ready_s: float | None = None
    model: str = ""
    accelerator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOutcomes:
    """Requests of a deployment that got a first token within ``seconds``, and how many of them too late.

    ``paced`` are requests whose time per output token was measured, ``slow`` those beyond the objective.
    """

    seconds: float
    first_tokens: float
    late: float
    paced: float = 0.0
    slow: float = 0.0
