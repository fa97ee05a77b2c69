"""The policy's own figures: what is used until enough has been learned."""

from __future__ import annotations

from controller.domain.capacity import IterationTime
from controller.domain.plan import Capacity, CapacitySource
from controller.domain.signals import Signal
from controller.policy.model import DeploymentPolicy

DEFAULT_ITERATION = IterationTime(base_s=0.015, per_sequence_s=1e-4, per_context_token_s=1e-7, per_prefill_token_s=1e-4)
"""The order of magnitude of an 8B model on one GPU: a place to begin, believed only loosely."""


def capacity_of_policy(policy: DeploymentPolicy) -> Capacity:
    """Return the policy's figures: requests in flight always, other signals where given."""
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


def iteration_prior(policy: DeploymentPolicy) -> IterationTime:
    """Return the policy's iteration time, or the default one."""
    given = policy.capacity.iteration
    if given is None:
        return DEFAULT_ITERATION
    return IterationTime(
        base_s=given.base_s,
        per_sequence_s=given.per_sequence_s,
        per_context_token_s=given.per_context_token_s,
        per_prefill_token_s=given.per_prefill_token_s,
    )
