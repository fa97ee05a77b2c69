"""One tick of learning: what the engines did, and how their users fared, into what is remembered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from controller.domain.capacity import CAPACITY_MEMORY_VERSION, CapacityMemory, IterationEstimate
from controller.domain.engine import EngineInterval, ServiceOutcomes
from controller.domain.reading import Known, Reading
from controller.planner.capacity.batches import Batches, batches
from controller.planner.capacity.error_budget import served
from controller.planner.capacity.estimate import full_load_of
from controller.planner.capacity.from_policy import iteration_prior
from controller.planner.capacity.iteration import FIRM, LOOSE, learned, new_estimate
from controller.planner.capacity.mix import token_mix, with_intervals
from controller.planner.capacity.safety import bucket_of, evidence_for, judged
from controller.policy.model import DeploymentPolicy

_KEPT_ESTIMATES = 4
_FRESH_SHARE = 0.9
"""Windows overlap from tick to tick; an interval is new when this share of it is."""
_BLAMED_S = 120.0
"""Lateness now is put down to the mean utilisation of so long: the sustained load is what is planned for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What one tick saw of a deployment. ``digest`` is None while its configuration is not known."""

    at: float
    digest: str | None
    intervals: Sequence[EngineInterval]
    outcomes: ServiceOutcomes | None
    work: Reading
    ready: int | None


def learn(memory: CapacityMemory | None, experience: Experience, policy: DeploymentPolicy) -> CapacityMemory:
    """Return the memory with the experience taken in; state of another version is dropped."""
    known = memory if memory is not None and memory.version == CAPACITY_MEMORY_VERSION else CapacityMemory()
    known = _engines(known, experience, policy)
    known = _utilised(known, experience)
    return _fared(_recorded(known, experience), experience, policy)


def engine_key(interval: EngineInterval, digest: str) -> str:
    """Engines with the same key are alike: model, configuration and, where known, accelerator."""
    return f"{interval.model}/{interval.accelerator}/{digest}"


def _engines(known: CapacityMemory, experience: Experience, policy: DeploymentPolicy) -> CapacityMemory:
    fresh = _unseen(known, experience.intervals)
    if experience.digest is None or not fresh:
        return known
    keys = tuple(sorted({engine_key(interval, experience.digest) for interval in experience.intervals}))
    mix = known.mix
    if mix is not None and keys != known.active:
        mix = replace(mix, running=0.0, kv_usage=0.0)  # another engine holds another share of its cache
    mix = with_intervals(mix, fresh, at=experience.at)
    estimates = {estimate.key: estimate for estimate in known.estimates}
    for interval in fresh:
        key = engine_key(interval, experience.digest)
        before = estimates.pop(key, None) or _begun(key, policy)
        estimates = {key: _taught(before, interval, replace(known, mix=mix), policy), **estimates}
    listed = {interval.replica_id for interval in experience.intervals}
    seen = {name: until for name, until in known.seen if name in listed}
    seen |= {interval.replica_id: interval.until for interval in fresh}
    return replace(
        known,
        estimates=tuple(estimates.values())[:_KEPT_ESTIMATES],
        active=keys,
        mix=mix,
        seen=tuple(sorted(seen.items())),
    )


def _unseen(known: CapacityMemory, intervals: Sequence[EngineInterval]) -> list[EngineInterval]:
    seen = dict(known.seen)
    return [
        interval
        for interval in sorted(intervals, key=lambda one: one.replica_id)
        if interval.until - seen.get(interval.replica_id, -math.inf) >= _FRESH_SHARE * interval.seconds
    ]


def _begun(key: str, policy: DeploymentPolicy) -> IterationEstimate:
    spread = LOOSE if policy.capacity.iteration is None else FIRM
    return new_estimate(key, iteration_prior(policy), spread=spread)


def _taught(
    estimate: IterationEstimate, interval: EngineInterval, known: CapacityMemory, policy: DeploymentPolicy
) -> IterationEstimate:
    mix = token_mix(known.mix)
    if mix is None:
        return estimate
    kv_tokens = policy.capacity.kv_cache_tokens
    seen = batches(interval, usual_context=mix.context(kv_tokens), kv_cache_tokens=kv_tokens)
    return learned(estimate, seen, at=interval.until) if isinstance(seen, Batches) else estimate


def _utilised(known: CapacityMemory, experience: Experience) -> CapacityMemory:
    recent = tuple((at, share) for at, share in known.utilisations if at > experience.at - _BLAMED_S)
    if isinstance(experience.work, Known) and experience.ready:
        recent = (*recent, (experience.at, experience.work.value / experience.ready))
    return replace(known, utilisations=recent)


def _recorded(known: CapacityMemory, experience: Experience) -> CapacityMemory:
    outcomes, record = experience.outcomes, known.record
    if outcomes is None or (record is not None and experience.at - record.at < _FRESH_SHARE * outcomes.seconds):
        return known
    return replace(known, record=served(record, outcomes, at=experience.at))


def _fared(known: CapacityMemory, experience: Experience, policy: DeploymentPolicy) -> CapacityMemory:
    outcomes, full = experience.outcomes, full_load_of(policy, known)
    if outcomes is None or isinstance(full, str) or not experience.ready or not known.utilisations:
        return known
    since_s = math.inf if known.judged_at is None else experience.at - known.judged_at
    if since_s < _FRESH_SHARE * outcomes.seconds:
        return known
    evidence = evidence_for(known.safety, bucket_of(full.mix))
    usual = fmean(share for _, share in known.utilisations)
    updated = judged(
        evidence,
        full,
        outcomes,
        utilisation=usual,
        replicas=experience.ready,
        since_s=0.0 if math.isinf(since_s) else since_s,
    )
    others = tuple(one for one in known.safety if one.bucket != updated.bucket)
    ordered = tuple(sorted((*others, updated), key=lambda one: one.bucket))
    return replace(known, safety=ordered, judged_at=experience.at)
