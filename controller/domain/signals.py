"""The demand signals that deployments are sized by."""

from __future__ import annotations

from enum import StrEnum


class Signal(StrEnum):
    """One dimension of demand on a deployment. Demand = served + queued + shed."""

    ONGOING_REQUESTS = "ongoing_requests"
    """Requests inside the system, queued ones included (count)."""
    REQUESTS = "requests_per_s"
    """Arriving requests, shed ones included (1/s)."""
    PREFILL_TOKENS = "prefill_tokens_per_s"
    """Prompt tokens processed (tokens/s)."""
    DECODE_TOKENS = "decode_tokens_per_s"
    """Output tokens generated (tokens/s)."""
    WORK = "work"
    """Fully loaded replicas that the demand would keep busy (replica-seconds per second); needs a capacity model."""


MEASURED = tuple(signal for signal in Signal if signal is not Signal.WORK)
"""Signals that are observed; work is made of them."""
