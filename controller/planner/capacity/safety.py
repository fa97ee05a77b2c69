"""How much of its full load a fleet can be planned for: learned from how many requests were late at what utilisation.

The fewer seats a fleet has, the more its occupancy fluctuates, so the margin below full load is counted in units of
that fluctuation (square-root staffing, Halfin and Whitt 1981)::

    margin = (1 - utilisation) / spread,     spread² = variability / (seats + served while waiting) · pooling

A request counts for more than one seat on average, because long contexts hold much of a KV cache. Waiting within
the objective for the first token smooths the rest. Replicas do not pool fully: a request stays where it was sent.
Where the engine's own limit of sequences binds, every request takes one seat, and the theory of queues says how many
wait too long (``waiting``); the rest is the same.

Beyond that, lateness falls exponentially with the margin, which simulated fleets of 1 to 16 replicas on four traces
confirm from 20 % down to 0.01 %::

    share late = target · G · e^(-steepness · (margin - prior margin))

The one unknown G is learned as the ratio of late requests to expected ones: a Gamma posterior of a Poisson count,
per kind of token mix. The utilisation planned for is the largest whose share late stays within the target for a
cautious quantile of G: lateness, being rare, moves it quickly, and its absence slowly. Lateness at loads where it is
expected anyway (too few replicas, others still starting) is explained by the load and teaches little or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from controller.domain.capacity import SafetyEvidence
from controller.domain.engine import ServiceOutcomes
from controller.planner.capacity.mix import TokenMix
from controller.planner.capacity.sustainable import SEATS, FullLoad
from controller.planner.capacity.waiting import share_too_late, utilisation_for

LATE_TARGET = 0.005
"""Share of requests that may miss an objective, of those that 99 % attainment allows half."""
LOWEST, HIGHEST = 0.35, 0.95

_VARIABILITY = 2.0
"""Seats that a request counts for, by variance: 1 + squared variation of contexts."""
_UNPOOLED = 0.15
"""Share of the fluctuation that more replicas do not even out."""
_PRIOR_MARGIN = 1.4
_STEEPNESS = 4.0
_PRIOR_WEIGHT = 2.0
_CLUMP = 8.0
"""Late requests come in clumps: so many count as one observation."""
_CAUTION_Z = 0.84
"""Normal deviate of the quantile of G that is planned for, 80 %."""
_MEMORY_S = 6 * 3600.0
_OVERLOADED = 0.1
"""Where a larger share late is expected, the load explains it."""
_BUCKET_EDGES = (1.0, 4.0, 16.0)
"""Prompt tokens prefilled per output token that part kinds of mixes."""


def bucket_of(mix: TokenMix) -> int:
    """Return the kind of a token mix: 0 is mostly decode, 3 mostly prefill."""
    ratio = mix.prefill_tokens / mix.output_tokens
    return sum(ratio >= edge for edge in _BUCKET_EDGES)


def evidence_for(safety: Sequence[SafetyEvidence], bucket: int) -> SafetyEvidence:
    """Return what is known about one kind of mix; only the prior when nothing is."""
    fresh = SafetyEvidence(bucket=bucket, late=_PRIOR_WEIGHT, expected=_PRIOR_WEIGHT)
    return next((one for one in safety if one.bucket == bucket), fresh)


def spread(full: FullLoad, replicas: int) -> float:
    """Relative fluctuation of the fleet's occupancy."""
    seats = full.concurrency + full.requests_per_s * full.wait_s
    return math.sqrt(_VARIABILITY / seats / _pooled(replicas))


def safe_utilisation(evidence: SafetyEvidence, full: FullLoad, replicas: int) -> float:
    """Largest utilisation, 0.35 to 0.95, whose share late stays within the target, cautiously."""
    return min(max(utilisation_at(LATE_TARGET / _cautious_ratio(evidence), full, replicas), LOWEST), HIGHEST)


def utilisation_at(share: float, full: FullLoad, replicas: int) -> float:
    """Utilisation at which this share of requests is late, by the prior alone."""
    if full.bound == SEATS:
        return utilisation_for(share, **_queue(full, replicas))
    return 1.0 - spread(full, replicas) * (_PRIOR_MARGIN - math.log(share / LATE_TARGET) / _STEEPNESS)


def replicas_for(work: float, evidence: SafetyEvidence, full: FullLoad) -> int:
    """Fewest replicas that carry ``work`` engines' worth at their safe utilisation; at least one."""
    replicas = max(1, math.ceil(work - 1e-9))
    while replicas * safe_utilisation(evidence, full, replicas) < work - 1e-9:
        replicas += 1
    return replicas


def judged(
    evidence: SafetyEvidence,
    full: FullLoad,
    outcomes: ServiceOutcomes,
    *,
    utilisation: float,
    replicas: int,
    since_s: float,
) -> SafetyEvidence:
    """Take in how many requests of an interval missed an objective.

    ``utilisation`` is the sustained one that led to it; ``since_s`` the time since the last interval.
    """
    kept = math.exp(-max(0.0, since_s) / _MEMORY_S)
    faded = replace(
        evidence,
        late=_PRIOR_WEIGHT + kept * (evidence.late - _PRIOR_WEIGHT),
        expected=_PRIOR_WEIGHT + kept * (evidence.expected - _PRIOR_WEIGHT),
    )
    usual = _usual_share(full, utilisation, replicas)
    if outcomes.first_tokens <= 0.0 or usual * faded.late / faded.expected > _OVERLOADED:
        return faded
    requests = outcomes.first_tokens / _CLUMP
    return replace(
        faded,
        late=faded.late + requests * missed_share(outcomes),
        expected=faded.expected + requests * usual,
        intervals=faded.intervals + 1,
    )


def missed_share(outcomes: ServiceOutcomes) -> float:
    """Share of requests that missed either objective, the two taken as independent."""
    late = outcomes.late / outcomes.first_tokens if outcomes.first_tokens > 0.0 else 0.0
    slow = outcomes.slow / outcomes.paced if outcomes.paced > 0.0 else 0.0
    return 1.0 - (1.0 - min(late, 1.0)) * (1.0 - min(slow, 1.0))


def _usual_share(full: FullLoad, utilisation: float, replicas: int) -> float:
    """Share late by the prior alone."""
    if full.bound == SEATS:
        return share_too_late(utilisation, **_queue(full, replicas))
    margin = (1.0 - utilisation) / spread(full, replicas)
    return LATE_TARGET * math.exp(min(-_STEEPNESS * (margin - _PRIOR_MARGIN), 50.0))


def _queue(full: FullLoad, replicas: int) -> dict[str, float]:
    pooled = _pooled(replicas)
    return {
        "seats": pooled * full.concurrency,
        "requests_per_s": pooled * full.requests_per_s,
        "wait_s": full.wait_s,
    }


def _pooled(replicas: int) -> float:
    """How many replicas' worth of seats even each other out."""
    fleet = max(replicas, 1)
    return fleet / (1.0 + _UNPOOLED * (fleet - 1))


def _cautious_ratio(evidence: SafetyEvidence) -> float:
    """Quantile of a Gamma(late, rate expected), by Wilson and Hilferty's cube."""
    shape = evidence.late
    cube = 1.0 - 1.0 / (9.0 * shape) + _CAUTION_Z / (3.0 * math.sqrt(shape))
    return shape / evidence.expected * cube**3
