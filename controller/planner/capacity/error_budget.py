"""How careful to be: a forecast's quantile rises while more requests miss their objectives than should.

A quantile bounds how often demand outgrows what was ordered, not for how long nor how many requests that costs: with
a start-up of seven minutes each overrun lasts seven minutes. So the chance of an overrun that is accepted shrinks in
proportion to how much more is missed than allowed for (the error budget of site reliability engineering)::

    q = 1 - (1 - q of the policy) · min(1, allowed / missed)

Missed and served requests fade over a quarter of a day, beginning with a record without misses.
"""

from __future__ import annotations

import math
from dataclasses import replace

from controller.domain.capacity import ServiceRecord
from controller.domain.engine import ServiceOutcomes
from controller.planner.capacity.safety import missed_share

_MEMORY_S = 6 * 3600.0
_PRIOR_REQUESTS = 1000.0
"""Requests without a miss that a record begins with: a first minute's misses decide nothing."""
MOST_CAREFUL = 0.98


def served(record: ServiceRecord | None, outcomes: ServiceOutcomes, *, at: float) -> ServiceRecord:
    """Return the record with one interval's requests taken in."""
    known = record or ServiceRecord(at=at)
    kept = math.exp(-max(0.0, at - known.at) / _MEMORY_S)
    return replace(
        known,
        at=at,
        requests=kept * known.requests + outcomes.first_tokens,
        missed=kept * known.missed + outcomes.first_tokens * missed_share(outcomes),
    )


def careful(quantile: float, record: ServiceRecord | None, *, allowed: float) -> float:
    """Return the quantile to size for, between the policy's and 0.98 (or the policy's, where that is higher).

    ``allowed`` is the share of requests that may miss an objective before more care is taken.
    """
    if record is None or record.missed <= 0.0:
        return quantile
    missed = record.missed / (record.requests + _PRIOR_REQUESTS)
    if missed <= allowed:
        return quantile
    return max(quantile, min(1.0 - (1.0 - quantile) * allowed / missed, MOST_CAREFUL))
