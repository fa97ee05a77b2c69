"""What one replica carries."""

from __future__ import annotations

from controller.domain.plan import Capacity, CapacitySource
from controller.domain.signals import Signal
from controller.policy.model import DeploymentPolicy


def capacity(policy: DeploymentPolicy) -> Capacity:
    """Return the policy's own figures: requests in flight always, other signals where given."""
    prior = policy.capacity
    given = {
        Signal.ONGOING_REQUESTS: prior.target_ongoing_requests,
        Signal.REQUESTS: prior.requests_per_s,
        Signal.PREFILL_TOKENS: prior.prefill_tokens_per_s,
        Signal.DECODE_TOKENS: prior.decode_tokens_per_s,
    }
    return Capacity(
        per_replica={signal: value for signal, value in given.items() if value is not None},
        source=CapacitySource.POLICY,
        detail="from the policy; not learned",
    )
