"""What one replica carries: learned where enough was seen, else the policy's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.domain.capacity import CapacityMemory, IterationEstimate
from controller.domain.plan import Capacity, CapacitySource
from controller.domain.reading import Known, Unknown
from controller.domain.signals import Signal
from controller.domain.snapshot import Snapshot
from controller.planner.capacity.from_policy import capacity_of_policy, iteration_prior
from controller.planner.capacity.iteration import iteration_time, unidentified
from controller.planner.capacity.mix import token_mix
from controller.planner.capacity.safety import bucket_of, evidence_for, replicas_for, safe_utilisation
from controller.planner.capacity.sustainable import EngineLimits, FullLoad, full_load
from controller.planner.capacity.work import work_rate
from controller.policy.model import DeploymentPolicy

ENOUGH_INTERVALS = 10
"""Intervals after which a default prior has become an estimate; a policy's prior is used from the start."""
BEYOND_SEEN = 3.0
"""A model that grew from the default prior is believed for batches of up to so many times the largest one seen."""


def capacity(policy: DeploymentPolicy, memory: CapacityMemory | None = None, *, work: float | None = None) -> Capacity:
    """Return what one replica carries, by work and, for showing, by every other signal.

    ``work`` is the present demand in engines: larger fleets can be loaded higher. Without enough learned,
    the policy's figures are returned, and why.
    """
    given = capacity_of_policy(policy)
    if memory is None:
        return given
    full = full_load_of(policy, memory)
    if isinstance(full, str):
        return replace(given, detail=f"from the policy; not learned: {full}")
    evidence = evidence_for(memory.safety, bucket_of(full.mix))
    replicas = replicas_for(work or 0.0, evidence, full)
    utilisation = safe_utilisation(evidence, full, replicas)
    load = utilisation * full.requests_per_s
    return Capacity(
        per_replica={
            Signal.WORK: utilisation,
            Signal.REQUESTS: load,
            Signal.PREFILL_TOKENS: load * full.mix.prompt_tokens,
            Signal.DECODE_TOKENS: load * full.mix.output_tokens,
            Signal.ONGOING_REQUESTS: full.concurrency_at(utilisation),
        },
        source=CapacitySource.LEARNED,
        full={Signal.WORK: 1.0},
        detail="; ".join(
            (
                _bound_words(full),
                f"{utilisation:.0%} of it is safe with {replicas} replicas ({evidence.intervals} intervals judged)",
                *(_learning_words(estimate) for estimate in _active(memory)),
            )
        ),
    )


def is_learning(policy: DeploymentPolicy, memory: CapacityMemory | None) -> bool:
    """Whether engines are watched that have not shown yet what they carry, and nobody told it."""
    told = policy.capacity.iteration is not None or not policy.capacity.learn
    if told or memory is None or memory.mix is None:
        return False
    return not any(one.intervals >= ENOUGH_INTERVALS for one in _active(memory))


def with_work(snapshot: Snapshot, policy: DeploymentPolicy, memory: CapacityMemory | None) -> Snapshot:
    """Return the snapshot with its demand as work too; unknown while there is no capacity model."""
    full = full_load_of(policy, memory)
    work = Unknown(full) if isinstance(full, str) else work_rate(snapshot.demand, full)
    if snapshot.idle and isinstance(work, Unknown):
        work = Known(0.0)
    return replace(snapshot, demand={**snapshot.demand, Signal.WORK: work})


def full_load_of(policy: DeploymentPolicy, memory: CapacityMemory | None) -> FullLoad | str:
    """Return the largest load of one engine at the present mix, or why it is not known.

    Of several kinds of engines that run side by side, the slowest counts: requests are spread evenly.
    """
    if not policy.capacity.learn:
        return "switched off by the policy"
    mix = token_mix(memory.mix) if memory else None
    if memory is None or mix is None:
        return "too few requests seen to know the token mix"
    active = _active(memory)
    if policy.capacity.iteration is None and not any(one.intervals >= ENOUGH_INTERVALS for one in active):
        most = max((one.intervals for one in active), default=0)
        return f"{most} of {ENOUGH_INTERVALS} intervals with enough load seen"
    objectives = policy.objectives
    models = [(iteration_time(one), _limits(policy, one)) for one in active] or [
        (iteration_prior(policy), _limits(policy, None))
    ]
    loads = [full_load(time, mix, bounds, ttft_s=objectives.ttft_s, tpot_s=objectives.itl_s) for time, bounds in models]
    return min(loads, key=lambda load: load.requests_per_s)


def _active(memory: CapacityMemory | None) -> Sequence[IterationEstimate]:
    if memory is None:
        return ()
    return [estimate for estimate in memory.estimates if estimate.key in memory.active]


def _limits(policy: DeploymentPolicy, estimate: IterationEstimate | None) -> EngineLimits:
    engine = policy.capacity
    from_default = estimate is not None and engine.iteration is None
    return EngineLimits(
        believed_sequences=BEYOND_SEEN * estimate.most_sequences if estimate and from_default else None,
        kv_cache_tokens=engine.kv_cache_tokens,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
    )


def _bound_words(full: FullLoad) -> str:
    mix = full.mix
    words = (
        f"full at {full.requests_per_s:.3g} requests/s of {mix.prompt_tokens:.0f} + {mix.output_tokens:.0f} tokens, "
        f"{full.concurrency:.0f} at once, bound by {full.bound}"
    )
    return words if full.feasible else f"{words}; even a lone request misses an objective"


def _learning_words(estimate: IterationEstimate) -> str:
    time = iteration_time(estimate)
    words = (
        f"iteration {time.base_s * 1e3:.3g} ms + {time.per_sequence_s * 1e3:.3g} ms/sequence "
        f"+ {time.per_context_token_s * 1e6:.3g} us/context token "
        f"+ {time.per_prefill_token_s * 1e3:.3g} ms/prefill token from {estimate.intervals} intervals"
    )
    kept = unidentified(estimate)
    if kept:
        words += f", too little spread to learn {', '.join(kept)}: kept from the prior"
    if estimate.drifted_at is not None:
        words += f", changed at {estimate.drifted_at:.0f}"
    return words
